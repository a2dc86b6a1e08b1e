import asyncio
from collections.abc import Callable
from typing import Any

from flow_core.core.plan import Plan
from flow_core.core.run import Run
from flow_core.core.status_table import StatusTable
from flow_core.core.task import StepTask
from flow_core.core.waker import Waker

class Scheduler(Waker):
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        table: StatusTable,
        handler: Any,
        run_type: type[Run] = ...,
        context_type: Callable[..., Any] | None = None,
        encode: Callable[[Any], bytes] | None = None,
        limit: int = 10_000,
        keep: int = 1000,
        nonce: int = 0,
        clock: Callable[[], float] | None = None,
        wall: Callable[[], float] = ...,
        budget: float = 0.001,
    ) -> None: ...
    def start(
        self, plan: Plan, request: Any, options: Any = None, limit: int = 0, lane: int = 1, depth: int = 0
    ) -> Any: ...
    def start_at_once(self, plan: Plan, request: Any) -> Any: ...
    def launch(self, run: Run) -> None: ...
    def start_activity(self, run: Run, index: int, activity: int, value: Any) -> None: ...
    def post_outcome(self, task: StepTask, ok: bool, value: Any) -> None: ...
    def close(self) -> None: ...
