"""Encoding and decoding what each revision changed, which is how definitions are kept in a store.

Steps are encoded by ``proto/encoding.py``, which is imported on first use, like protobuf.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from flow_core.engine.definition import Definition
from flow_core.errors import StoreCorrupt, UnknownFlow
from flow_core.model.revisions import RevisionChange, StoredDefinition

if TYPE_CHECKING:
    from flow_core.model.store import Store
    from flow_core.proto.encoding import OperationDecoder

__all__ = ["PastRevisions", "apply_changes", "encode", "note_owners", "read"]


def encode(change: RevisionChange) -> bytes:
    """A change for the store. Raises `EncodeError`."""
    from flow_core.proto.encoding import encode_change

    gone = {"replaced" if change.created else "deleted": change.deleted}
    return encode_change(change.created, principal=change.principal, time_utc=change.time_utc, **gone)


def read(stored: StoredDefinition, registry: OperationDecoder) -> RevisionChange:
    """A change from the store.

    Raises:
        DecodeError, UnknownOperation: a step can't be read in this process.
    """
    from flow_core.proto.encoding import decode_change

    steps, message = decode_change(stored.steps, registry)
    return RevisionChange(
        stored.flow, stored.revision, tuple(steps), message.deleted or message.replaced, stored.owner,
        message.principal, message.time_utc,
    )  # fmt: skip


def apply_changes(
    definition: Definition, owners: dict[str, str], changes: Sequence[StoredDefinition], registry: OperationDecoder
) -> list[RevisionChange]:
    """Bring a definition from its revision to that of the last change; returns the new ones.

    Args:
        owners: step id -> owner, kept up to date.

    Raises:
        StoreCorrupt: a revision is missing, or does not fit to the one before.
        DecodeError, UnknownOperation: a step can't be read in this process.
    """
    applied = []
    for stored in changes:
        if stored.revision <= definition.revision:
            continue
        if stored.revision != definition.revision + 1:
            raise StoreCorrupt(
                f"flow {definition.name!r}: revision {definition.revision + 1} is missing, the next is "
                f"{stored.revision}", flow=definition.name,
            )  # fmt: skip
        change = read(stored, registry)
        if not change.deleted:
            definition.create(change.created)
        elif change.created:
            definition.replace(change.deleted, change.created[0])
        else:
            definition.delete(change.deleted)
        note_owners(owners, change)
        applied.append(change)
    return applied


def note_owners(owners: dict[str, str], change: RevisionChange) -> None:
    """Update the owners of steps for a change."""
    owners.pop(change.deleted, None)
    owners.update((step.id, change.owner) for step in change.created)


#: Maximum number of cached definitions.
MOST: Final = 64


class PastRevisions:
    """Definitions of revisions that are not the current ones, for executions that began with them."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int], Definition] = OrderedDict()

    async def definition(
        self, flow: str, revision: int, store: Store | None, registry: Callable[[], OperationDecoder]
    ) -> Definition:
        """The definition of a flow as it was at a revision.

        Raises:
            UnknownFlow: the store does not have it; DecodeError, UnknownOperation, StoreCorrupt, StoreError.
        """
        place = (flow, revision)
        found = self._kept.get(place)
        if found is None:
            found = Definition(flow)
            if store is not None:
                stored = [change for change in await store.definitions(flow) if change.revision <= revision]
                apply_changes(found, {}, stored, registry())
            if found.revision != revision:
                raise UnknownFlow(f"revision {revision} of flow {flow!r} is in no store", flow=flow)
            self._kept[place] = found
            while len(self._kept) > MOST:
                self._kept.popitem(last=False)
        self._kept.move_to_end(place)
        return found
