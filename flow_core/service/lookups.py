"""`Lookups`: the replies to Lookup, put together from steps that are encoded once.

A flow of ten thousand steps is a message of a megabyte, and changes by a step at a time: what did not change is not
encoded again.

Lives here: the frames of the wire format (https://protobuf.dev/programming-guides/encoding/) and their cache. Does not
live here: the encoding of a step (``proto/encoding.py``).
"""

from __future__ import annotations

from flow_core import Step
from flow_core.errors import UnknownFlow
from flow_core.proto import flow_pb2 as pb
from flow_core.proto.encoding import encode_step
from flow_core.service.hub import Hub

__all__ = ["Lookups"]

#: Tag of the field `steps` of LookupReply: number 2, wire type 2 (length-delimited).
STEPS_TAG = b"\x12"


class _Flow:
    """What is encoded of one flow. ``frames``: step id -> (step, owner, its frame)."""

    __slots__ = ("frames", "reply", "version")

    def __init__(self) -> None:
        self.frames: dict[str, tuple[Step, str, bytes]] = {}
        self.version: tuple[int, int] = (-1, -1)
        self.reply = b""


class Lookups:
    """See the module."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._flows: dict[str, _Flow] = {}
        #: How often an owner vanished or came back.
        self._moves = 0
        hub.owners.listen(self._moved)

    def _moved(self, owner: str, here: bool) -> None:
        self._moves += 1

    async def reply(self, name: str) -> bytes:
        """An encoded LookupReply. Raises `UnknownFlow`, and `EncodeError` for a step of this process alone."""
        flow = self._hub.flow
        try:
            steps = await flow.lookup(name)
        except UnknownFlow:
            self._flows.pop(name, None)
            raise
        version = (await flow.revision(name), self._moves)
        known = self._flows.setdefault(name, _Flow())
        if known.version != version:
            if known.version[1] != self._moves:
                known.frames.clear()
            known.reply = self._encode(steps, known, name, version[0])
            known.version = version
        return known.reply

    def _encode(self, steps: list[Step], known: _Flow, name: str, revision: int) -> bytes:
        owners, present = self._hub.flow.owners(name), known.frames
        frames: dict[str, tuple[Step, str, bytes]] = {}
        parts = [pb.LookupReply(revision=revision).SerializeToString()]
        for step in steps:
            id_ = step.id
            owner = owners.get(id_, "")
            frame = present.get(id_)
            if frame is None or frame[0] is not step or frame[1] != owner:
                frame = (step, owner, self._frame(step, owner))
            frames[id_] = frame
            parts.append(frame[2])
        known.frames = frames
        return b"".join(parts)

    def _frame(self, step: Step, owner: str) -> bytes:
        owned = pb.OwnedStep(step=encode_step(step), owner=owner, available=self._hub.owners.available(owner))
        data = owned.SerializeToString()
        return STEPS_TAG + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
