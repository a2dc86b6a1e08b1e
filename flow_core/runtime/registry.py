"""The executions of this process by id.

Generated ids are UUIDv7 (RFC 9562) that contain the place of the execution; ``core/run_table.pyx`` documents the
layout. Ids given by callers, and those of executions that began in another process, are kept in a dictionary.
"""

from __future__ import annotations

import re
from weakref import WeakValueDictionary

from flow_core.core.plan import Plan
from flow_core.core.scheduler import Scheduler
from flow_core.core.stepper import Stepper
from flow_core.errors import ExecutionConflict
from flow_core.model.ids import check_id
from flow_core.model.payload import encode_outcome
from flow_core.model.status import Status
from flow_core.runtime.context import StepContext
from flow_core.runtime.execution import Execution

__all__ = ["Registry", "was_dropped", "words_of"]

_FORM = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}").fullmatch


class Registry:
    """Finds the executions of one scheduler that run, are remembered, or whose handle is still referenced.

    Args:
        scheduler: has the executions; None before the first one.
        nonce: part of all ids that the scheduler makes.
    """

    def __init__(self, scheduler: Scheduler | None = None, nonce: int = 0) -> None:
        self.scheduler = scheduler
        self._nonce = nonce
        #: Executions by ids that their callers, or other processes, gave them.
        self.named: WeakValueDictionary[str, Execution] = WeakValueDictionary()
        #: Whether a dropped execution continues from its records, with a new handle.
        self.recovers = False

    def known(self, id: str) -> Execution | None:
        """The execution with this id; None when there is none, or when it continues elsewhere or later."""
        found: Execution | None = self.named.get(id)
        if found is None and self.scheduler is not None:
            place = _place_of(id, self._nonce)
            if place is not None:
                found = self.scheduler.lookup(*place)
                if found is not None and found.id != id:
                    found = None
        return None if found is not None and self.recovers and was_dropped(found) else found

    def same(self, plan: Plan, request: object, id: str, caller: StepContext | None) -> Execution | None:
        """The execution that has this id already, or None.

        Raises:
            ExecutionConflict: it has another flow or request. InvalidId.
        """
        known = self.known(check_id(id, "execution id"))
        if known is None:
            return None
        if known.flow != plan.flow or not _is_same(known, request):
            what = f"flow {known.flow!r}" if known.flow != plan.flow else "another request"
            raise ExecutionConflict(
                f"execution {id!r} exists, with {what}", fix="use another id", flow=plan.flow, execution=known
            )
        stepper = Stepper(known)
        if caller is None:
            stepper.others += 1
        elif stepper.caller is None:  # a child that was recovered on its own
            stepper.parent, stepper.caller = caller.run, caller
        return known

    def remember(self, run: Execution) -> None:
        """Let an execution be found by the id that its caller gave."""
        self.named[Stepper(run).name] = run

    def forget(self, run: Execution) -> None:
        """Free the id of an execution."""
        stepper = Stepper(run)
        if self.named.get(stepper.name) is run:
            del self.named[stepper.name]


def was_dropped(run: Execution) -> bool:
    """Whether an execution has ended only here, without a record, because another executor continues it."""
    return Stepper(run).durable and run.over and run.status is Status.STOPPED


def _is_same(known: Execution, request: object) -> bool:
    """Whether an execution has this request. In one from a store, JSON has turned tuples into lists."""
    if Stepper(known).durable and not isinstance(request, bytes):
        return encode_outcome(known.request) == encode_outcome(request)
    same: bool = known.request == request
    return same


def words_of(text: str) -> tuple[int, int] | None:
    """The two 64-bit numbers of a generated id; None for an id that a caller made up."""
    if not _FORM(text):
        return None
    digits = text.replace("-", "")
    return int(digits[:16], 16), int(digits[16:], 16)


def _place_of(text: str, nonce: int) -> tuple[int, int] | None:
    """(slot, generation) of a generated id; None when it is not one of this executor's."""
    words = words_of(text)
    if words is None or words[1] & 0xFFFFFFFF != nonce:
        return None
    high, low = words
    return (low >> 32) & 0xFFFFFF, (high & 0xFFF) | ((low >> 56) & 0x3F) << 12
