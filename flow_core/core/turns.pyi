import asyncio
from collections.abc import Callable
from typing import Any

from flow_core.core.ready_queue import ReadyQueue
from flow_core.core.task import Scheduler
from flow_core.core.timers import Timers

class Pacer(Scheduler):
    budget: float
    @property
    def queue(self) -> ReadyQueue: ...
    @property
    def timers(self) -> Timers: ...
    @property
    def turns(self) -> int: ...
    @property
    def time(self) -> float: ...
    @property
    def ahead(self) -> float: ...
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        clock: Callable[[], float] | None = None,
        wall: Callable[[], float] = ...,
        budget: float = 0.001,
        **_: Any,
    ) -> None: ...
    def post(self, item: Any) -> None: ...
    def set_timer(self, delay: float, key: int) -> int: ...
    def cancel_timer(self, handle: int) -> bool: ...
