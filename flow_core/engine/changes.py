"""What a revision changed, as bytes: how definitions are kept in a store.

Lives here: encoding one change, and applying a sequence of them to a `Definition`. Does not live here: the wire form of
a step (``proto/encoding.py``, imported on first use like protobuf), reading and writing the store (``catalog.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from flow_core.engine.definition import Definition
from flow_core.errors import StoreCorrupt
from flow_core.options import Author
from flow_core.records import Definition as Stored
from flow_core.step import Step

if TYPE_CHECKING:
    from flow_core.proto.encoding import OperationDecoder

__all__ = ["apply_changes", "created", "deleted", "note_owners", "replaced"]


def created(steps: Iterable[Step], author: Author) -> bytes:
    """Steps were added. Raises `EncodeError`."""
    return _encode(steps, author)


def deleted(step: str, author: Author) -> bytes:
    """A step was taken out."""
    return _encode((), author, deleted=step)


def replaced(old: str, new: Step, author: Author) -> bytes:
    """``new`` took the place of ``old``. Raises `EncodeError`."""
    return _encode((new,), author, replaced=old)


def _encode(steps: Iterable[Step], author: Author, **what: str) -> bytes:
    from flow_core.proto.encoding import encode_change

    return encode_change(steps, principal=author.principal, time_utc=author.time_utc, **what)


def apply_changes(
    definition: Definition, owners: dict[str, str], changes: Sequence[Stored], registry: OperationDecoder
) -> None:
    """Bring a definition from its revision to that of the last change.

    Args:
        owners: step id -> owner, kept up to date.

    Raises:
        StoreCorrupt: a revision is missing, or does not fit to the one before.
        DecodeError, UnknownOperation: a step can't be read in this process.
    """
    from flow_core.proto.encoding import decode_change

    for change in changes:
        if change.revision <= definition.revision:
            continue
        if change.revision != definition.revision + 1:
            raise StoreCorrupt(
                f"flow {definition.name!r}: revision {definition.revision + 1} is missing, the next is "
                f"{change.revision}", flow=definition.name,
            )  # fmt: skip
        steps, gone, old = decode_change(change.steps, registry)
        if gone:
            definition.delete(gone)
        elif old:
            definition.replace(old, steps[0])
        else:
            definition.create(steps)
        note_owners(owners, change.owner, steps, gone or old)


def note_owners(owners: dict[str, str], owner: str, steps: Iterable[Step], gone: str = "") -> None:
    """Take note of whose the steps of a change are."""
    owners.pop(gone, None)
    owners.update((step.id, owner) for step in steps)
