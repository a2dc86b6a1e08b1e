import asyncio
from collections.abc import Callable
from typing import Any

from flow_core.core.ready_queue import ReadyQueue
from flow_core.core.timers import Timers

class Turns:
    budget: float
    @property
    def queue(self) -> ReadyQueue: ...
    @property
    def timers(self) -> Timers: ...
    @property
    def count(self) -> int: ...
    @property
    def time(self) -> float: ...
    @property
    def ahead(self) -> float: ...
    def __init__(
        self, loop: asyncio.AbstractEventLoop, take_turn: Callable[[], object], take_posted: Callable[[Any], object],
        ring: Callable[[], object], clock: Callable[[], float] | None = None, wall: Callable[[], float] = ...,
        budget: float = 0.001,
    ) -> None: ...  # fmt: skip
    def post(self, item: Any) -> int: ...
