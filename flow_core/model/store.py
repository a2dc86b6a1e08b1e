"""`Store`: what every store of executions and definitions promises.

Ownership: an executor calls `begin` and gets an `Epoch`; every write carries it. An epoch ends when the same executor
begins again, when it is released, or when it has missed its heartbeats and another executor claims: from then on its
writes raise `LeaseLost`. Wall-clock time only decides when somebody *may* be declared dead; that a dead one can't
write is decided by the number.

A commit whose reply was lost is sent again with the same ``commit_id``: the store knows the last 1,024 of an epoch and
answers without writing twice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Final, Self

from flow_core.errors import InvalidOption, UnknownExecution
from flow_core.model.records import Epoch, ExecutionInfo, Page, Record, to_json
from flow_core.model.revisions import Change, StoredDefinition
from flow_core.model.status import Status

__all__ = ["REMEMBERED", "Change", "Store"]

#: How many commit ids of an epoch a store remembers at least.
REMEMBERED: Final = 1024


class Store(ABC):
    """Keeps records of executions and definitions of flows. Belongs to the event loop that opened it.

    Who makes a store closes it. A flow opens the store that it is given and leaves it open; several flows may
    share one:

        async with SqliteStore("sqlite:///flow.db") as store:
            async with Flow(store=store, executor=Executor(name="a")) as flow:
                ...
            await store.list(limit=10)          # still open

    A store that a flow makes from an url, as in ``Flow(store="sqlite:///flow.db")``, is closed by `Flow.stop`.

    Every method raises `StoreUnavailable` (or `StoreFull`, `StoreTimeout`) when the medium fails; the same call may
    succeed later, nothing has to be opened again.
    """

    @abstractmethod
    async def open(self) -> None:
        """Open, create or migrate. Opening twice is fine, and one `close` ends it.

        Raises:
            ForeignStore, StoreCorrupt, SchemaTooNew: the medium was not touched.
        """

    @abstractmethod
    async def close(self) -> None:
        """Finish the commits under way and free everything. Closing twice is fine."""

    @abstractmethod
    async def begin(self, executor: str, lease: float) -> Epoch:
        """A new epoch for ``executor``; earlier ones of the same name are fenced. ``lease``: seconds per heartbeat."""

    @abstractmethod
    async def renew(self, epoch: Epoch) -> None:
        """A heartbeat. Raises `LeaseLost` when the epoch was fenced."""

    @abstractmethod
    async def release(self, epoch: Epoch) -> None:
        """End the epoch in order: others may claim what is unfinished at once, and it does not count as a crash."""

    @abstractmethod
    async def owners(self) -> Sequence[str]:
        """Names of the executors whose epochs are not over, whether or not they still send heartbeats."""

    @abstractmethod
    async def commit(self, epoch: Epoch, records: Sequence[Record], *, commit_id: int | None = None) -> None:
        """Write all records or none; durable when it returns.

        Each call is a transaction of its own. Commits are written in the order of the calls, also when the caller
        is cancelled. Who has many records for one moment sends them in one commit, as the executor does.

        Args:
            commit_id: unique for the content within the epoch. After `StoreUnavailable` send the same records under the
                same id; after `Conflict` send the others under a new one. None: never sent again.

        Raises:
            LeaseLost: the epoch is over, or does not own one of the executions.
            Conflict: see its ``reason``; ``execution`` and ``step`` name the first record refused.
        """

    @abstractmethod
    async def claim(self, epoch: Epoch, limit: int = 100) -> Sequence[ExecutionInfo]:
        """Take at most ``limit`` unfinished executions whose owner is dead, oldest first; nobody gets one twice."""

    @abstractmethod
    async def load(self, execution: str) -> Sequence[Record]:
        """The records of an execution in order of their commits; empty when it is unknown."""

    @abstractmethod
    async def list(
        self, flow: str | None = None, status: Status | None = None, since: float | None = None, limit: int = 100,
        cursor: str | None = None, *, unfinished: bool = False,
    ) -> Page:  # fmt: skip
        """Executions, newest first. ``since``: started at or after, UTC seconds; ``cursor``: from the page before."""

    @abstractmethod
    async def retain(self, keep: timedelta | int) -> int:
        """Remove ended executions older than ``keep``, or all but the ``keep`` latest; how many were removed.

        Unfinished ones stay, and so do those whose parent is unfinished.
        """

    @abstractmethod
    async def save_definition(self, flow: str, revision: int, steps: bytes, owner: str = "") -> None:
        """Keep one revision of a flow. The same again changes nothing; others raise `Conflict` ("revision")."""

    @abstractmethod
    async def definitions(self, flow: str | None = None, *, after: int = 0) -> Sequence[StoredDefinition]:
        """Every stored revision above ``after``, of one flow or of all, by flow and revision."""

    @abstractmethod
    async def check(self) -> Sequence[str]:
        """What is wrong with the data, one line each; empty when it is sound."""

    def watch(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """Have ``callback(change)`` called on the loop, soon after something may have changed; call the result to stop.

        A hint that saves waiting, not a promise: it may come for nothing (also for what this store itself did), several
        changes may be one call, and a lease that runs out announces itself to nobody. So who waits for executions to
        claim goes on asking at its pace, and asks at once when called. PostgreSQL tells of all processes, and after a
        gap in its connection calls with everything; the other stores of this package tell of what this very object did,
        and a store that does not say otherwise never calls.
        """
        return _stop_nothing

    async def scan(self) -> AsyncIterator[ExecutionInfo]:
        """Every unfinished execution, newest first, whoever owns it."""
        cursor = None
        while True:
            page = await self.list(limit=1000, cursor=cursor, unfinished=True)
            for info in page.items:
                yield info
            if (cursor := page.cursor) is None:
                return

    async def export(self, execution: str) -> bytes:
        """All records of one execution as a JSON document, payloads in base64. Raises `UnknownExecution`."""
        import orjson

        records = await self.load(execution)
        if not records:
            raise UnknownExecution(f"no execution {execution!r} in the store", execution=execution)
        return orjson.dumps({"format": 1, "execution": execution, "records": [to_json(record) for record in records]})

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _stop_nothing() -> None:
    """What `Store.watch` returns when nobody will be called."""


def parse_cursor(cursor: str | None) -> int | None:
    """The key that a cursor stands for. Raises `InvalidOption`."""
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise InvalidOption(f"not a cursor of a page: {cursor!r:.40}", fix="pass Page.cursor on unchanged")
    return int(cursor)
