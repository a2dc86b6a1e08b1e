import asyncio
from collections import deque
from typing import Any

from flow_core.core.counters import Counters
from flow_core.core.plan import Plan
from flow_core.core.ready_queue import ReadyQueue
from flow_core.core.run import Run
from flow_core.core.status_table import StatusTable
from flow_core.core.turns import Pacer
from flow_core.core.waiter import Waiter

class Ledger(Pacer):
    @property
    def counters(self) -> Counters: ...
    keep: int
    bound: int
    limit: int
    notify: bool
    tracer: Any
    @property
    def handler(self) -> Any: ...
    @property
    def table(self) -> StatusTable: ...
    @property
    def kept(self) -> deque[Any]: ...
    @property
    def live(self) -> int: ...
    @property
    def running(self) -> int: ...
    @property
    def blocked(self) -> ReadyQueue: ...
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        table: StatusTable,
        handler: Any,
        run_type: type[Run] = ...,
        limit: int = 10_000,
        keep: int = 1000,
        nonce: int = 0,
        **_: Any,
    ) -> None: ...
    def prepare(
        self, plan: Plan, request: Any, options: Any = None, limit: int = 0, lane: int = 1, depth: int = 0
    ) -> Any: ...
    def lookup(self, slot: int, generation: int) -> Any: ...
    def runs_known(self) -> list[Any]: ...
    def finish(self, run: Run, status: int, failure: BaseException | None = None) -> None: ...
    def waiter(self, run: Run) -> Waiter | None: ...
    def go_on(self, run: Run) -> None: ...
