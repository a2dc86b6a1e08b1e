"""Finds executions wherever they are: running or remembered here, waiting to continue here, or only in the store."""

from __future__ import annotations

import asyncio
from typing import Any

from flow_core.core.stepper import Stepper
from flow_core.errors import Conflict, ExecutionConflict, FlowError, IllegalMove, InvalidOption, UnknownExecution
from flow_core.model.backoff import Backoff
from flow_core.model.records import ExecutionInfo, Page
from flow_core.model.status import Status
from flow_core.runtime.durable.session import DurableSession
from flow_core.runtime.durable.stored_execution import StoredExecution
from flow_core.runtime.durable.waiting import Waiting
from flow_core.runtime.execution import Execution
from flow_core.runtime.registry import Registry, was_dropped, words_of

__all__ = ["Lookup"]

#: Seconds between two checks of an execution that runs in another process: first and longest.
LOOKS = Backoff(0.05, 1.0)


class Lookup:
    """Finds executions by id, and lists them.

    Args:
        registry: the executions of this process.
        session: the store's executions; None without a store.
    """

    def __init__(self, registry: Registry, session: DurableSession | None = None) -> None:
        self._registry = registry
        self._session = session

    def here(self, flow: str | None, id: str) -> Execution:
        """An execution of this process.

        Raises:
            UnknownExecution: there is none, or it belongs to another flow, which the message names.
        """
        found = self._registry.known(id)
        if found is None:
            waiting = self.waiting(id)
            if waiting is not None:
                raise UnknownExecution(f"execution {id!r} can't go on yet: {waiting.reason}", flow=flow)
            raise UnknownExecution(
                f"no execution {id!r} is known", fix="it may have been forgotten, see keep=", flow=flow
            )
        _check_flow(flow, id, found.flow)
        return found

    def waiting(self, id: str) -> Waiting | None:
        """An execution that was taken over but can't continue here yet."""
        return None if self._session is None else self._session.recovery.waiting.get(id)

    async def anywhere(self, flow: str | None, id: str) -> Execution | StoredExecution:
        """An execution, here or in the store. Raises `UnknownExecution`, and `StoreError`."""
        found = self._registry.known(id)
        if found is not None or self._session is None:
            return self.here(flow, id)
        records = await self._session.store.load(id)
        if not records:
            return self.here(flow, id)
        stored = StoredExecution(records)
        _check_flow(flow, id, stored.flow)
        try:
            stored.plan = await self._session.recovery.plan_of(stored.start, stored.options.step, stored.own_steps)
        except FlowError:
            pass  # a definition that can't be read here: everything but the response is there
        return stored

    async def live(self, flow: str | None, id: str, what: str) -> Execution:
        """An execution that can be controlled here. Raises `IllegalMove` for one that only the store knows."""
        if self._session is not None and self.waiting(id) is not None:
            await self._session.recovery.tried()
        found = await self.anywhere(flow, id)
        if isinstance(found, Execution):
            return found
        waiting = self.waiting(id)
        if found.over:
            why, fix = f"is over ({found.status.name})", "restart it"
        elif waiting is not None:
            why, fix = f"can't go on yet: {waiting.reason}", "register what it waits for"
        else:
            why, fix = "is under way in another process, or waits for one,", "ask that one"
        raise IllegalMove(f"execution {id} {why} and can't be {what} here", fix=fix, flow=flow, execution=found)

    async def ended(self, flow: str | None, id: str) -> Execution | StoredExecution:
        """A finished execution: waits for one that runs here or in another process (by polling the store).

        Raises `UnknownExecution`, and `StoreError`.
        """
        looks = 0
        while True:
            found = await self.anywhere(flow, id)
            waiting = self.waiting(id)
            if isinstance(found, Execution):
                await found.wait()
                if self._registry.known(id) is found or not was_dropped(found):
                    return found
            elif found.over:
                return found
            elif waiting is not None:
                await waiting.gone()
                await asyncio.sleep(0)
            else:
                looks += 1
                await asyncio.sleep(LOOKS.delay(looks))

    async def stored_before(self, flow: str, conflict: Conflict, over: bool) -> Execution | StoredExecution:
        """The execution whose id was asked for again: the store has it already and raised ``conflict``.

        Args:
            over: wait for its end.

        Raises:
            ExecutionConflict: it has another flow or request.
        """
        if conflict.reason == "request":
            raise ExecutionConflict(conflict.message, fix="use another id", flow=flow) from conflict
        if conflict.reason != "exists":
            raise conflict
        return await (self.ended if over else self.anywhere)(flow, conflict.execution)

    async def list(
        self, flow: str | None, status: Status | None, since: float | None, limit: int, cursor: str | None
    ) -> Page:
        """Executions, newest first."""
        if limit < 1:
            raise InvalidOption(f"limit must be at least 1, not {limit}")
        if self._session is not None:
            page: Page = await self._session.store.list(flow, status, since, limit, cursor)
            return page
        return self._list_here(flow, status, since, limit, cursor)

    def _list_here(
        self, flow: str | None, status: Status | None, since: float | None, limit: int, cursor: str | None
    ) -> Page:
        scheduler = self._registry.scheduler
        if scheduler is None:
            return Page([], None)
        found = sorted(scheduler.runs_known(), key=lambda run: Stepper(run).id_words, reverse=True)
        if cursor is not None:
            after = words_of(cursor) or Stepper(self.here(None, cursor)).id_words
            found = [run for run in found if Stepper(run).id_words < after]
        infos = (_info(run, scheduler.ahead) for run in found if flow in (None, run.flow))
        chosen = [one for one in infos if status in (None, one.status) and (since is None or one.time_utc >= since)][
            : limit + 1
        ]
        return Page(chosen[:limit], chosen[limit - 1].execution if len(chosen) > limit else None)


def _check_flow(flow: str | None, id: str, found: str) -> None:
    """Raise `UnknownExecution` when an execution does not belong to ``flow``."""
    if flow is not None and found != flow:
        raise UnknownExecution(f"execution {id!r} belongs to flow {found!r}, not {flow!r}", flow=flow)


def _info(run: Any, ahead: float) -> ExecutionInfo:
    """The summary of an execution of this process. ``ahead``: UTC seconds minus loop seconds."""
    began, over = Stepper(run).span
    parent = None if run.parent is None else run.parent.id
    ended = over + ahead if run.over else None
    return ExecutionInfo(run.id, run.flow, run.revision, run.status, parent, began + ahead, ended, 0, 0)
