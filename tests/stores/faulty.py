"""`Faulty`: a store whose commits fail in the ways real ones do, as often as a test says.

Lives here: the wrapper and the faults. Does not live here: what an executor has to make of them.
"""

from collections.abc import Iterable

from flow_core.errors import Conflict, LeaseLost, StoreFull, StoreTimeout, StoreUnavailable

#: Name of the fault -> (is it written all the same, what the caller is told).
FAULTS = {
    "timeout": (False, StoreTimeout),
    "written": (True, StoreTimeout),  # the worst one: done, but the caller is told that it failed
    "unavailable": (False, StoreUnavailable),
    "lease_lost": (False, LeaseLost),
    "conflict": (False, Conflict),
    "full": (False, StoreFull),
}


class Faulty:
    """Passes everything on to ``store``; the n-th commit meets the n-th of ``faults`` (None: no fault)."""

    def __init__(self, store, faults: Iterable[str | None]) -> None:
        self.store = store
        self.faults = iter(faults)
        self.told = []

    def __getattr__(self, name):
        return getattr(self.store, name)

    async def __aenter__(self):
        await self.store.open()
        return self

    async def __aexit__(self, *_):
        await self.store.close()

    async def commit(self, epoch, records, *, commit_id=None):
        fault = next(self.faults, None)
        written, error = FAULTS[fault] if fault else (True, None)
        if written:
            await self.store.commit(epoch, records, commit_id=commit_id)
        if error is not None:
            self.told.append(fault)
            raise error(f"injected: {fault}")
