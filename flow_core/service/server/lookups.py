"""`Lookups`: the replies to Lookup, put together from steps that are encoded once.

Frames of the wire format: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from flow_core import Step
from flow_core.model.revisions import RevisionChange
from flow_core.proto import flow_pb2 as pb
from flow_core.proto.encoding import encode_step
from flow_core.service.server.context import ServerContext

__all__ = ["Lookups"]

#: Tag of the field `steps` of LookupReply: number 2, wire type 2 (length-delimited).
STEPS_TAG = b"\x12"
#: Steps that are encoded before other tasks get their turn.
TURN = 64


class _Flow:
    """What is encoded of one flow.

    Attributes:
        frames: step id -> its frame, in the order of the flow; empty for those that are not encoded.
        dirty: the steps that are not encoded.
        reply: of the revision, empty when it has to be put together.
    """

    __slots__ = ("dirty", "frames", "reply", "revision")

    def __init__(self, revision: int, steps: list[Step]) -> None:
        self.revision = revision
        self.frames = {step.id: b"" for step in steps}
        self.dirty = {step.id: step for step in steps}
        self.reply = b""

    def change(self, change: RevisionChange) -> None:
        """Take in the next change. A step that takes the place of one of the same id keeps the place."""
        self.revision, self.reply = change.revision, b""
        if change.deleted and not (change.created and change.created[0].id == change.deleted):
            del self.frames[change.deleted]
            self.dirty.pop(change.deleted, None)
        for step in change.created:
            self.frames[step.id] = b""
            self.dirty[step.id] = step


class Lookups:
    """Puts together the replies to Lookup, from steps that are encoded once.

    A flow of ten thousand steps is a message of a megabyte, and changes by a step at a time: what did not change is not
    encoded again, and a change costs as much as its own steps.
    """

    def __init__(self, server: ServerContext) -> None:
        self._server = server
        self._flows: dict[str, _Flow] = {}
        server.flow.on_change(self._changed)
        server.presence.listen(lambda owner, here: self._flows.clear())  # whether its steps are available is in them

    def _changed(self, change: RevisionChange) -> None:
        known = self._flows.get(change.flow)
        if known is None:
            return
        if change.revision == known.revision + 1:
            known.change(change)
        else:
            del self._flows[change.flow]

    async def reply(self, name: str) -> bytes:
        """An encoded LookupReply. Raises `UnknownFlow`, and `EncodeError` for a step of this process alone."""
        flow = self._server.flow
        while True:
            known = self._flows.get(name)
            revision = await flow.revision(name)
            if known is None or known.revision != revision:
                known = self._flows[name] = _Flow(revision, await flow.lookup(name))
            if known.dirty:
                self._encode_some(known, await flow.owners(name))
            if not known.dirty and not known.reply:
                head = pb.LookupReply(revision=revision).SerializeToString()
                known.reply = b"".join((head, *known.frames.values()))
            if not known.dirty:
                return known.reply
            await asyncio.sleep(0)  # the first look-up of a large flow: others get their turn

    def _encode_some(self, known: _Flow, owners: Mapping[str, str]) -> None:
        while known.dirty:
            id_, step = known.dirty.popitem()
            known.frames[id_] = self._frame(step, owners.get(id_, ""))
            if not len(known.dirty) % TURN:
                return

    def _frame(self, step: Step, owner: str) -> bytes:
        owned = pb.OwnedStep(step=encode_step(step), owner=owner, available=self._server.presence.available(owner))
        data = owned.SerializeToString()
        return STEPS_TAG + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
