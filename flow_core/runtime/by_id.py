"""`ById`: what can be asked of executions by flow and id.

Lives here: that half of the `Executor`. Does not live here: finding them (`Directory`), starting them (`Executor`).
"""

from __future__ import annotations

from typing import Any

from flow_core.core.scheduler import Scheduler
from flow_core.core.stepper import Stepper
from flow_core.errors import IllegalMove, InvalidOption
from flow_core.model.options import ExecutorOptions
from flow_core.model.records import Page
from flow_core.model.status import Status
from flow_core.model.transition import Transition
from flow_core.runtime.durable.session import Keeper
from flow_core.runtime.execution import Execution
from flow_core.runtime.explain import Explanation, explain, explain_stored, explain_waiting
from flow_core.runtime.lookup import Directory
from flow_core.runtime.observed import Observed

__all__ = ["ById"]


class ById(Observed):
    """See the module. All raise `UnknownExecution` for an id that neither this process nor the store knows.

    Ids are unique over all flows: ``flow`` is a check, and None where it does not matter.
    """

    _scheduler: Scheduler | None
    _options: ExecutorOptions
    _directory: Directory
    _keeper: Keeper | None

    def _forget(self) -> None:
        """Forget what is too old, when ``keep`` is a time."""
        scheduler, keep = self._scheduler, self._options.keep
        if scheduler is not None and not isinstance(keep, int):
            oldest = scheduler.time - keep.total_seconds()
            while scheduler.kept and Stepper(scheduler.kept[0]).span[1] < oldest:
                scheduler.kept.popleft()

    def find(self, flow: str | None, id: str) -> Execution:
        """The handle of an execution that is live, remembered, or held by somebody.

        Raises:
            UnknownExecution: naming the flow it belongs to when that is not ``flow``.
        """
        self._forget()
        return self._directory.here(flow, id)

    async def status(self, flow: str | None, id: str) -> Status:
        """Status of an execution."""
        return (await self._directory.anywhere(flow, id)).status

    async def result(self, flow: str | None, id: str, step: str) -> bytes:
        """Output of a step, as bytes. See `Execution.result`."""
        return (await self._directory.anywhere(flow, id)).result(step)

    async def history(self, flow: str | None, id: str) -> list[Transition]:
        """What has happened to an execution so far; of one that only the store knows, in UTC seconds."""
        return (await self._directory.anywhere(flow, id)).history()

    async def export(self, flow: str | None, id: str) -> bytes:
        """Everything the store has of an execution, as a JSON document. Raises `InvalidOption` without a store."""
        if self._keeper is None:
            raise InvalidOption("this executor has no store to export from", fix='Flow(store="sqlite:///flow.db")')
        await self._directory.anywhere(flow, id)
        return await self._keeper.store.export(id)

    async def wait(self, flow: str | None, id: str) -> Status:
        """Wait for the end, however it comes."""
        return (await self._directory.ended(flow, id)).status

    async def ended(self, flow: str | None, id: str) -> Execution:
        """Wait for the end, however it comes, and return the handle, or its like of one that only the store knows."""
        found: Any = await self._directory.ended(flow, id)
        return found  # type: ignore[no-any-return]

    async def pause(self, flow: str | None, id: str) -> None:
        """See `Execution.pause`."""
        await (await self._live(flow, id, "paused")).pause()

    async def resume(self, flow: str | None, id: str) -> None:
        """See `Execution.resume`."""
        await (await self._live(flow, id, "resumed")).resume()

    async def abort(self, flow: str | None, id: str, *, rollback: bool = False) -> None:
        """See `Execution.abort`. One that can't go on here yet is ended, too, though without a rollback."""
        found = await self._directory.anywhere(flow, id)
        waiting = self._directory.waiting(id)
        if waiting is not None and self._keeper is not None and not rollback:
            await self._keeper.give_up(waiting)
        elif not found.over:
            await (await self._live(flow, id, "aborted")).abort(rollback=rollback)

    async def _live(self, flow: str | None, id: str, what: str) -> Execution:
        """An execution of this process. Raises `IllegalMove` for one that only the store knows."""
        if self._keeper is not None and self._directory.waiting(id) is not None:
            await self._keeper.tried()
        found = await self._directory.anywhere(flow, id)
        if isinstance(found, Execution):
            return found
        waiting = self._directory.waiting(id)
        if found.over:
            why, fix = f"is over ({found.status.name})", "restart it"
        elif waiting is not None:
            why, fix = f"can't go on yet: {waiting.reason}", "register what it waits for"
        else:
            why, fix = "is under way in another process, or waits for one,", "ask that one"
        raise IllegalMove(f"execution {id} {why} and can't be {what} here", fix=fix, flow=flow, execution=found)

    async def explain(self, flow: str | None, id: str) -> Explanation:
        """What an execution waits for."""
        waiting = self._directory.waiting(id)
        if waiting is not None:
            return explain_waiting(waiting)
        trouble = None if self._keeper is None else self._keeper.journal.trouble
        found = await self._directory.anywhere(flow, id)
        if not isinstance(found, Execution):
            return explain_stored(found)
        rpc = getattr(self._options.flow, "rpc", None)
        return explain(found, trouble, None if rpc is None else rpc.waits_for)

    async def list(
        self,
        flow: str | None = None,
        status: Status | None = None,
        *,
        since: float | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """Executions, newest first: all that the store has, or without one those that are live or remembered.

        Args:
            since: only those that started at or after, UTC seconds.
            limit: of one page.
            cursor: of the page before.
        """
        self._forget()
        return await self._directory.list(flow, status, since, limit, cursor)
