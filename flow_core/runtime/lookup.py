"""`Directory`: finds executions: those under way or remembered here, and those that only the store knows.

Lives here: look-ups by id, and lists. Does not live here: asking an execution for something (`Executor`).
"""

from __future__ import annotations

import asyncio
from typing import Any
from weakref import WeakValueDictionary

from flow_core.core.plan import Plan
from flow_core.core.scheduler import Scheduler
from flow_core.core.stepper import Stepper
from flow_core.errors import Conflict, ExecutionConflict, FlowError, InvalidOption, UnknownExecution
from flow_core.model.ids import check_id
from flow_core.model.payload import encode_outcome
from flow_core.model.records import ExecutionInfo, Page
from flow_core.model.status import Status
from flow_core.runtime.context import StepContext
from flow_core.runtime.durable.session import Keeper, Waiting
from flow_core.runtime.durable.stored_execution import StoredExecution
from flow_core.runtime.execution import Execution
from flow_core.runtime.registry import parse_id, words_of

__all__ = ["Directory"]


#: Seconds between two looks at an execution that is under way in another process: first and at most.
FIRST_LOOK, LAST_LOOK = 0.05, 1.0


class Directory:
    """See the module.

    Args:
        scheduler: whose executions they are; None before the first one.
        nonce: of the ids that it makes.
    """

    def __init__(self, scheduler: Scheduler | None = None, nonce: int = 0) -> None:
        self.scheduler = scheduler
        self.nonce = nonce
        #: Executions by ids that their callers, or other processes, gave them.
        self.named: WeakValueDictionary[str, Execution] = WeakValueDictionary()
        self.keeper: Keeper | None = None

    def known(self, id: str) -> Execution | None:
        """An execution that is live, remembered, or held by somebody; not one that goes on elsewhere, or later."""
        found = self._handle(id)
        return None if found is not None and was_dropped(found) and not self._is_closed else found

    @property
    def _is_closed(self) -> bool:
        return self.keeper is None or self.keeper.closed

    def _handle(self, id: str) -> Execution | None:
        found: Execution | None = self.named.get(id)
        if found is None and self.scheduler is not None:
            place = parse_id(id, self.nonce)
            if place is not None:
                found = self.scheduler.lookup(*place)
                if found is not None and found.id != id:
                    found = None
        return found

    def same(self, plan: Plan, request: Any, id: str | None, caller: StepContext | None) -> Execution | None:
        """The execution of an id that a caller gave, when there is one.

        Raises:
            ExecutionConflict: it is one of something else. InvalidId.
        """
        if id is None:
            return None
        known = self.known(check_id(id, "execution id"))
        if known is None:
            return None
        if known.flow != plan.flow or not is_same(known, request):
            what = f"flow {known.flow!r}" if known.flow != plan.flow else "another request"
            raise ExecutionConflict(
                f"execution {id!r} exists, with {what}", fix="use another id", flow=plan.flow, execution=known
            )
        if caller is None:
            Stepper(known).others += 1
        elif Stepper(known).caller is None:  # a child that was recovered on its own
            Stepper(known).parent, Stepper(known).caller = caller.run, caller
        return known

    def forget(self, run: Execution) -> None:
        """The id of an execution is free again."""
        if self.named.get(Stepper(run).name) is run:
            del self.named[Stepper(run).name]

    def here(self, flow: str | None, id: str) -> Execution:
        """The same. Raises `UnknownExecution`, naming the flow it belongs to when that is not ``flow``."""
        found = self.known(id)
        if found is None:
            waiting = self.waiting(id)
            if waiting is not None:
                raise UnknownExecution(f"execution {id!r} can't go on yet: {waiting.reason}", flow=flow)
            raise UnknownExecution(
                f"no execution {id!r} is known", fix="it may have been forgotten, see keep=", flow=flow
            )
        check_flow(flow, id, found.flow)
        return found

    def waiting(self, id: str) -> Waiting | None:
        """An execution that was taken over and can't go on here yet."""
        return None if self.keeper is None else self.keeper.waiting.get(id)

    async def anywhere(self, flow: str | None, id: str) -> Execution | StoredExecution:
        """An execution, here or in the store. Raises `UnknownExecution`, and `StoreError`."""
        found = self.known(id)
        if found is not None or self.keeper is None:
            return self.here(flow, id)
        records = await self.keeper.store.load(id)
        if not records:
            return self.here(flow, id)
        stored = StoredExecution(records)
        check_flow(flow, id, stored.flow)
        try:
            stored.plan = await self.keeper.plan_of(stored.start, stored.options.step, stored.own_steps)
        except FlowError:
            pass  # a definition that can't be read here: everything but the response is there
        return stored

    async def ended(self, flow: str | None, id: str) -> Execution | StoredExecution:
        """An execution that is over: waits for one that is under way, here or in another process.

        Of another process's the store is asked now and then. Raises `UnknownExecution`, and `StoreError`.
        """
        delay = FIRST_LOOK
        while True:
            found = await self.anywhere(flow, id)
            waiting = self.waiting(id)
            if isinstance(found, Execution):
                await found.wait()
                if self.known(id) is found or not was_dropped(found):
                    return found
            elif found.over:
                return found
            elif waiting is not None:
                await waiting.gone()
                await asyncio.sleep(0)
            else:
                await asyncio.sleep(delay)
                delay = min(LAST_LOOK, 2 * delay)

    async def stored_before(self, run: Execution, conflict: Conflict) -> Execution | StoredExecution:
        """The execution that the store has under the id of ``run``, which therefore was not started.

        Over, unless ``async_=True`` was said. Raises `ExecutionConflict` when it is one of something else.
        """
        self.forget(run)
        if conflict.reason == "request":
            raise ExecutionConflict(conflict.message, fix="use another id", flow=run.flow) from conflict
        if conflict.reason != "exists":
            raise conflict
        return await (self.anywhere if run.options.async_ else self.ended)(run.flow, Stepper(run).name)

    async def list(
        self, flow: str | None, status: Status | None, since: float | None, limit: int, cursor: str | None
    ) -> Page:
        """Executions, newest first."""
        if limit < 1:
            raise InvalidOption(f"limit must be at least 1, not {limit}")
        if self.keeper is not None:
            page: Page = await self.keeper.store.list(flow, status, since, limit, cursor)
            return page
        return self._list_here(flow, status, since, limit, cursor)

    def _list_here(
        self, flow: str | None, status: Status | None, since: float | None, limit: int, cursor: str | None
    ) -> Page:
        if self.scheduler is None:
            return Page([], None)
        found = sorted(self.scheduler.runs_known(), key=lambda run: Stepper(run).id_words, reverse=True)
        if cursor is not None:
            after = words_of(cursor) or Stepper(self.here(None, cursor)).id_words
            found = [run for run in found if Stepper(run).id_words < after]
        infos = (info(run, self.scheduler.ahead) for run in found if flow in (None, run.flow))
        chosen = [one for one in infos if status in (None, one.status) and (since is None or one.time_utc >= since)][
            : limit + 1
        ]
        return Page(chosen[:limit], chosen[limit - 1].execution if len(chosen) > limit else None)


def was_dropped(run: Execution) -> bool:
    """Whether an execution has ended here only, without a record: others go on with it."""
    return Stepper(run).durable and run.over and run.status is Status.STOPPED


def check_flow(flow: str | None, id: str, found: str) -> None:
    """Raise `UnknownExecution` when an execution belongs to another flow than was said."""
    if flow is not None and found != flow:
        raise UnknownExecution(f"execution {id!r} belongs to flow {found!r}, not {flow!r}", flow=flow)


def info(run: Any, ahead: float) -> ExecutionInfo:
    """One line about an execution that lives in this process. ``ahead``: UTC seconds minus loop seconds."""
    began, over = Stepper(run).span
    parent = None if run.parent is None else run.parent.id
    ended = over + ahead if run.over else None
    return ExecutionInfo(run.id, run.flow, run.revision, run.status, parent, began + ahead, ended, 0, 0)


def is_same(known: Execution, request: Any) -> bool:
    """Whether an execution has this request. One from a store has what JSON made of it: lists for tuples."""
    if Stepper(known).durable and not isinstance(request, bytes):
        return encode_outcome(known.request) == encode_outcome(request)
    same: bool = known.request == request
    return same
