"""`StoreError` and its kinds: failures of the disk or the database.

Import them from `flow_core.errors`.
"""

from __future__ import annotations

from typing import Any

from flow_core.errors.base import FlowError

__all__ = [
    "Conflict", "ForeignStore", "LeaseLost", "SchemaTooNew", "StoreCorrupt", "StoreError", "StoreFull", "StoreTimeout",
    "StoreUnavailable",
]  # fmt: skip


class StoreError(FlowError):
    """The store failed: the disk, or the database."""

    __module__ = "flow_core.errors"
    code = "store"


class Conflict(StoreError):
    """The store holds something else already. Nothing of the commit was written.

    Attributes:
        reason: ``"request"`` (the id belongs to another flow or request), ``"exists"`` (the same execution was
            started by another owner or has ended: load it), ``"outcome"`` (the step has its outcome), ``"ended"`` (the
            execution has), ``"unknown"`` (no such execution), ``"revision"`` (other steps under this revision).
    """

    __module__ = "flow_core.errors"
    code = "conflict"

    def __init__(self, message: str, *, reason: str = "outcome", **where: Any) -> None:
        super().__init__(message, **where)
        self.reason = reason


class LeaseLost(StoreError):
    """Another executor has taken over, or this one was released: it may not write any more."""

    __module__ = "flow_core.errors"
    code = "lease_lost"


class ForeignStore(StoreError):
    """The file or database belongs to another program. It was not touched."""

    __module__ = "flow_core.errors"
    code = "foreign_store"


class StoreCorrupt(StoreError):
    """The store is damaged. It was not touched."""

    __module__ = "flow_core.errors"
    code = "store_corrupt"


class SchemaTooNew(StoreError):
    """A newer flow-core wrote this store. It was not touched."""

    __module__ = "flow_core.errors"
    code = "schema_too_new"


class StoreUnavailable(StoreError):
    """The store can't be reached or written now. Whether a commit was written is not known: send it again."""

    __module__ = "flow_core.errors"
    code = "store_unavailable"


class StoreTimeout(StoreUnavailable, TimeoutError):
    """The store did not answer in time. Whether a commit was written is not known: send it again."""

    __module__ = "flow_core.errors"
    code = "store_timeout"


class StoreFull(StoreUnavailable):
    """The disk of the store is full. Send the commit again once there is space."""

    __module__ = "flow_core.errors"
    code = "store_full"
