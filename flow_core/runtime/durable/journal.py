"""`Journal`: records on their way to the store, one commit at a time, and what follows when they have arrived.

This is the group commit: while a commit is under way further records gather in the next batch. An idle executor
therefore commits at once, a loaded one in batches, and no timer is involved; a store writes each commit as it comes.
One at a time, because records of one execution must not overtake each other when a commit fails and is sent again; two
and four at a time were measured with SQLite and were not faster.

A store that is unavailable is asked again, under the same commit id, until it heals; meanwhile nothing goes on that
waits for a commit, and `Journal.trouble` says why.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from flow_core.errors import (
    Conflict,
    ExecutorStopped,
    FlowError,
    InternalError,
    LeaseLost,
    StoreError,
    StoreUnavailable,
)
from flow_core.model.backoff import Backoff
from flow_core.model.records import Epoch, Record
from flow_core.model.store import Store

if TYPE_CHECKING:
    from flow_core.runtime.execution import Execution

__all__ = ["Journal"]

log = logging.getLogger("flow_core")

#: Seconds before a failed commit is sent again.
BACKOFF: Final = Backoff(0.02, 1.0)
#: Called with None when the records are committed, else with the error that they never will be.
Callback = Callable[[BaseException | None], None]


class Batch:
    """Records of one commit, the outcomes among them (run, index, run, index, ...), and who waits for it."""

    __slots__ = ("callbacks", "outcomes", "records")

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.outcomes: list[Any] = []
        self.callbacks: list[tuple[str, Callback]] = []


class Journal:
    """Groups the records of an executor into commits and sends them to the store. Belongs to one event loop.

        journal.write(record)                   # goes with the next commit
        await journal.committed(record.execution)

    Args:
        store: where the records go; open.
        epoch: the right to write, see `Store.begin`.
        release: called with a batch's outcomes when they are committed.
        lost: called with the id of an execution and the error when the store refuses its records: somebody else has it;
            with None when the epoch is over: somebody else may have all of them.
    """

    def __init__(
        self,
        store: Store,
        epoch: Epoch,
        release: Callable[[list[Any]], None],
        lost: Callable[[str | None, BaseException], None],
    ) -> None:
        self._store = store
        self._epoch = epoch
        self._release = release
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._next = Batch()
        self._sent: Batch | None = None
        self._pump: asyncio.Task[None] | None = None
        #: Why nothing is sent any more; None: it is open.
        self.closed: BaseException | None = None
        self._commit_id = 0
        #: What the store says while it can't be written; None: all is well.
        self.trouble: StoreError | None = None
        #: Commits, and records in them.
        self.commits = self.written = 0

    # --- writing ------------------------------------------------------------------------------------------------------

    def write(self, record: Record) -> None:
        """Write a record in the coming commit."""
        self._next.records.append(record)
        if self._pump is None:
            self._start()

    def outcome(self, run: Execution, index: int, record: Record, end: Record | None = None) -> None:
        """Write the outcome of a step, to be released when it is committed, and perhaps the end of its execution."""
        batch = self._next
        batch.records.append(record)
        if end is not None:
            batch.records.append(end)
        batch.outcomes.append(run)
        batch.outcomes.append(index)
        if self._pump is None:
            self._start()

    def then(self, execution: str, callback: Callback) -> None:
        """Call back when everything written so far is committed; at once when it is."""
        batch = self._next if self._next.records else self._sent
        if batch is None:
            callback(self.closed)
        else:
            batch.callbacks.append((execution, callback))

    async def committed(self, execution: str) -> None:
        """Wait until everything written so far is committed. Raises what the store refused it with."""
        done: asyncio.Future[None] = self._loop.create_future()

        def tell(error: BaseException | None) -> None:
            if not done.done():
                done.set_result(None) if error is None else done.set_exception(error)

        self.then(execution, tell)
        await done

    def close(self, reason: BaseException) -> None:
        """Send nothing any more. Whoever waits hears ``reason``."""
        if self.closed is not None:
            return
        self.closed = reason
        batches = [batch for batch in (self._sent, self._next) if batch is not None]
        pump, self._pump = self._pump, None  # whatever is written from now on is dropped by `_start`
        self._sent, self._next = None, Batch()
        if pump is not None and not self._is_current(pump):
            pump.cancel()
        for batch in batches:
            for _, callback in batch.callbacks:
                self._tell(callback, reason)

    def _is_current(self, pump: asyncio.Task[None]) -> bool:
        try:
            return asyncio.current_task() is pump
        except RuntimeError:  # called from outside of the loop
            return False

    # --- sending ------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        if self.closed is None:
            self._pump = self._loop.create_task(self._work(), name="flow-core journal")
            self._pump.add_done_callback(self._pump_is_done)
        else:
            self._next = Batch()

    async def _work(self) -> None:
        try:
            while self._next.records and self.closed is None:
                batch, self._next = self._next, Batch()
                self._sent = batch
                self._commit_id += 1
                try:
                    await self._store.commit(self._epoch, batch.records, commit_id=self._commit_id)
                except Exception as error:
                    await self._send_again(batch, batch.records, error)
                if self._sent is not batch:
                    return  # closed meanwhile: everybody has been told
                self._sent = None
                self.commits += 1
                self.written += len(batch.records)
                self._follow(batch)
        except asyncio.CancelledError:
            self._shut_down()
            raise
        finally:
            self._pump = None
            if self._next.records:  # a step raised SystemExit: what the others wait for is sent all the same
                self._start()

    def _pump_is_done(self, pump: asyncio.Task[None]) -> None:
        if pump.cancelled():  # perhaps before its first step
            self._shut_down()

    def _shut_down(self) -> None:
        """The pump was cancelled: when nobody closed the journal, its loop is being shut down."""
        if self.closed is None:
            self._give_up(ExecutorStopped("the event loop was shut down under the executor"))

    def _follow(self, batch: Batch) -> None:
        """What waited for a commit goes on. An exception of one does not hold up the others."""
        fatal: BaseException | None = None
        if batch.outcomes:
            try:
                self._release(batch.outcomes)
            except BaseException as error:
                fatal = self._raised(error)
        for _, callback in batch.callbacks:
            try:
                callback(None)
            except BaseException as error:
                fatal = self._raised(error) or fatal
        if fatal is not None:
            raise fatal

    def _tell(self, callback: Callback, error: BaseException) -> None:
        """Tell who waits that the records are not written."""
        try:
            callback(error)
        except BaseException as raised:
            self._raised(raised)

    def _raised(self, error: BaseException) -> BaseException | None:
        """Report what a callback raised; returns it when it is meant for the loop: SystemExit, KeyboardInterrupt."""
        if not isinstance(error, Exception):
            return error
        what = "an execution can't go on after its commit"
        self._loop.call_exception_handler({"message": what, "exception": error})
        return None

    async def _send_again(self, batch: Batch, records: list[Record], error: Exception | None) -> None:
        """The store did not take records of a batch: send them until they are written, or refused for good."""
        failures = 0
        while error is not None:
            if isinstance(error, StoreUnavailable):
                self._troubled(error)
                failures += 1
                await asyncio.sleep(BACKOFF.delay(failures))
            elif not isinstance(error, (Conflict, LeaseLost)):
                await self._isolate(batch, records, error)
                break
            elif error.execution is None:
                self._give_up(error)
                return
            else:
                execution = error.execution
                self._refuse(batch, execution, error)
                records = [record for record in records if record.execution != execution]
                self._commit_id += 1  # another content
            error = await self._try(records)
        if self.closed is None:
            self._healed()

    async def _try(self, records: list[Record]) -> Exception | None:
        """Send records once; returns why the store did not take them."""
        if records and self.closed is None:
            try:
                await self._store.commit(self._epoch, records, commit_id=self._commit_id)
            except Exception as error:
                return error
        return None

    async def _isolate(self, batch: Batch, records: list[Record], error: Exception) -> None:
        """The store can't take something at all: find whose it is by halves, and write what belongs to others."""
        executions = list(dict.fromkeys(record.execution for record in records))
        if len(executions) == 1:
            wrong = InternalError(f"the store can't keep a record: {type(error).__name__}: {error}")
            wrong.__cause__ = error
            self._refuse(batch, executions[0], error if isinstance(error, FlowError) else wrong)
            return
        first = set(executions[: len(executions) // 2])
        for half in (True, False):
            part = [record for record in records if (record.execution in first) is half]
            self._commit_id += 1
            await self._send_again(batch, part, await self._try(part))

    def _refuse(self, batch: Batch, execution: str, error: BaseException) -> None:
        """Take out what the store does not want of one execution."""
        for callback in [*drop(batch, execution), *drop(self._next, execution)]:
            self._tell(callback, error)
        self._lost(execution, error)

    def _give_up(self, error: BaseException) -> None:
        """Nothing of what is on its way can ever be written."""
        self.close(error)
        self._lost(None, error)

    def _troubled(self, error: StoreError) -> None:
        if self.trouble is None:
            log.warning("the store can't be written, executions wait for it: %s", error.message)
        self.trouble = error

    def _healed(self) -> None:
        if self.trouble is not None:
            log.warning("the store can be written again, executions go on")
            self.trouble = None


def drop(batch: Batch, execution: str) -> list[Callback]:
    """Take everything of one execution out of a batch; returns who waited for it."""
    batch.records[:] = [record for record in batch.records if record.execution != execution]
    pairs = zip(batch.outcomes[::2], batch.outcomes[1::2], strict=True)
    batch.outcomes[:] = [value for pair in pairs if pair[0].id != execution for value in pair]
    gone = [callback for id_, callback in batch.callbacks if id_ == execution]
    batch.callbacks[:] = [pair for pair in batch.callbacks if pair[0] != execution]
    return gone
