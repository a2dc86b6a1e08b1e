"""What a revision changed, as bytes: how definitions are kept in a store.

Lives here: encoding one change, reading it, and applying it to a `Definition`. Does not live here: the wire form of a
step (``proto/encoding.py``, imported on first use like protobuf), reading and writing the store (``catalog.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flow_core.engine.definition import Definition
from flow_core.errors import StoreCorrupt
from flow_core.records import Changed
from flow_core.records import Definition as Stored

if TYPE_CHECKING:
    from flow_core.proto.encoding import OperationDecoder

__all__ = ["apply_changes", "encode", "note_owners", "read"]


def encode(change: Changed) -> bytes:
    """A change for the store. Raises `EncodeError`."""
    from flow_core.proto.encoding import encode_change

    gone = {"replaced" if change.created else "deleted": change.deleted}
    return encode_change(change.created, principal=change.principal, time_utc=change.time_utc, **gone)


def read(stored: Stored, registry: OperationDecoder) -> Changed:
    """A change from the store.

    Raises:
        DecodeError, UnknownOperation: a step can't be read in this process.
    """
    from flow_core.proto.encoding import decode_change

    steps, message = decode_change(stored.steps, registry)
    return Changed(
        stored.flow, stored.revision, tuple(steps), message.deleted or message.replaced, stored.owner,
        message.principal, message.time_utc,
    )  # fmt: skip


def apply_changes(
    definition: Definition, owners: dict[str, str], changes: Sequence[Stored], registry: OperationDecoder
) -> list[Changed]:
    """Bring a definition from its revision to that of the last change; returns those that it did not have.

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


def note_owners(owners: dict[str, str], change: Changed) -> None:
    """Take note of whose the steps of a change are."""
    owners.pop(change.deleted, None)
    owners.update((step.id, change.owner) for step in change.created)
