"""`AuditLog`: who changed which step of a server's flows, and when."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from flow_core import Flow, Step
from flow_core.errors import EncodeError, InvalidOption
from flow_core.model.revisions import RevisionChange
from flow_core.proto import flow_pb2 as pb
from flow_core.proto.encoding import encode_step

__all__ = ["AuditLog"]

#: Changes of steps that are kept.
MOST: Final = 100_000
#: Entries of a page.
PAGE, LARGEST_PAGE = 100, 1_000


class StepChange(NamedTuple):
    """One step of one change: what it was and what it became. ``number`` grows by 1."""

    number: int
    change: RevisionChange
    old: Step | None
    new: Step | None


class AuditLog:
    """The changes of a flow's steps, for the method `Audit` and for watchers who ask for the past.

    The latest changes are kept as they are, and hashed when somebody asks. With a store the log begins with what is
    stored there; the whole of it is in `Flow.past_changes`.
    """

    def __init__(self) -> None:
        #: Flow -> step -> the step as it is now.
        self.steps: dict[str, dict[str, Step]] = {}
        self._changes: deque[StepChange] = deque(maxlen=MOST)
        self._count = 0
        self._flow: Flow | None = None
        self._whole = False
        self._silence: Callable[[], None] | None = None

    async def attach(self, flow: Flow) -> None:
        """Keep the changes of ``flow`` from now on."""
        self._flow = flow
        self._silence = flow.on_change(self._note)
        for name in await flow.flows():
            self.steps[name] = {step.id: step for step in await flow.lookup(name)}

    def detach(self) -> None:
        """Keep no further changes."""
        if self._silence is not None:
            self._silence()

    def _note(self, change: RevisionChange) -> None:
        steps = self.steps.setdefault(change.flow, {})
        self._add(change, steps)

    def _add(self, change: RevisionChange, steps: dict[str, Step]) -> None:
        if change.deleted:
            self._append(change, steps.pop(change.deleted, None), change.created[0] if change.created else None)
        else:
            for step in change.created:
                self._append(change, None, step)
        steps.update((step.id, step) for step in change.created)

    def _append(self, change: RevisionChange, old: Step | None, new: Step | None) -> None:
        self._count += 1
        self._changes.append(StepChange(self._count, change, old, new))

    async def load(self) -> None:
        """Put what the store knows before what was seen. Once."""
        if self._whole or self._flow is None:
            return
        past = await self._flow.past_changes()
        if self._whole:
            return
        self._whole = True
        seen, self._changes, self._count = self._changes, deque(maxlen=MOST), 0
        told = {(entry.change.flow, entry.change.revision) for entry in seen}
        steps: dict[str, dict[str, Step]] = {}
        for change in sorted(past, key=lambda change: (change.time_utc, change.revision)):
            if (change.flow, change.revision) not in told:
                self._add(change, steps.setdefault(change.flow, {}))
        for entry in seen:
            self._append(entry.change, entry.old, entry.new)

    async def page(self, flow: str, limit: int, cursor: str) -> pb.AuditReply:
        """Entries of a flow (empty: of all), oldest first. Raises `InvalidOption`."""
        if limit < 0:
            raise InvalidOption(f"limit must be 0 or more, not {limit}")
        if cursor and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
            raise InvalidOption(f"not a cursor of the audit log: {cursor!r:.40}", fix="pass `next` on unchanged")
        await self.load()
        after, most = int(cursor or 0), min(limit or PAGE, LARGEST_PAGE)
        reply, last = pb.AuditReply(), after
        for entry in self._changes:
            if entry.number > after and flow in ("", entry.change.flow):
                if len(reply.entries) == most:
                    reply.next = str(last)
                    break
                reply.entries.append(_message(entry))
                last = entry.number
        return reply

    async def since(self, flow: str, revision: int) -> list[RevisionChange]:
        """Changes of a flow after a revision. Raises `InvalidOption` when some of them are not known any more."""
        await self.load()
        found = {entry.change.revision: entry.change for entry in self._changes if entry.change.flow == flow}
        later = sorted(number for number in found if number > revision)
        assert self._flow is not None
        now = await self._flow.revision(flow)
        if len(later) != max(0, now - revision):
            first = later[0] if later else now + 1
            raise InvalidOption(
                f"changes of flow {flow!r} are known from revision {first} on, not after {revision}",
                fix="Lookup, then watch from the revision that it tells", flow=flow,
            )  # fmt: skip
        return [found[number] for number in later]


def _message(entry: StepChange) -> pb.AuditEntry:
    change = entry.change
    verb = "create" if not change.deleted else "replace" if change.created else "delete"
    step = change.deleted or (entry.new.id if entry.new is not None else "")
    return pb.AuditEntry(
        time_utc=change.time_utc, principal=change.principal, verb=verb, flow=change.flow, revision=change.revision,
        step=step, old_hash=_hash(entry.old), new_hash=_hash(entry.new),
    )  # fmt: skip


def _hash(step: Step | None) -> str:
    """SHA-256 of a step's encoding, hex; empty for none, and for one of this process alone that has no encoding."""
    if step is None:
        return ""
    try:
        return hashlib.sha256(encode_step(step).SerializeToString(deterministic=True)).hexdigest()
    except EncodeError:
        return ""
