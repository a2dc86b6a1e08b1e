"""Group commit on PostgreSQL: what has queued up while a group was under way is the next group. No timers.

Lives here: the queue, the task that sends, and what happens to a group that was refused. Does not live here: rows
(``postgres_rows.py``), connections (``postgres_line.py``).

A group is one statement: one round trip, one transaction, one wait for the server's disk. A group that is refused
because of one of its commits is halved and sent again until that one is alone; it is then judged by the state read from
the server. So a refusal costs some transactions, and the others of its group nothing else. An epoch that is over is
named by the server, and all its commits fail at once.
"""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Sequence
from itertools import compress
from typing import Final, NamedTuple

from flow_core.errors import FlowError, InternalError, LeaseLost, LimitExceeded, StoreUnavailable
from flow_core.model.records import Epoch, ExecutionStarted, Record, StepEnded
from flow_core.model.store import REMEMBERED
from flow_core.stores.postgres.connection import (
    BROKEN,
    Address,
    Line,
    constraint_of,
    detail_of,
    of_value,
    state_of,
    translated,
)
from flow_core.stores.postgres.rows import PARAMETERS, Known, Rows, judged, together
from flow_core.stores.postgres.schema import ENDED_EPOCH, NOT_LIVE, SEQ_BITS, named

__all__ = ["Writer"]

#: Most records, bytes of payload and commits of one group. Commits: what a lost reply leaves in doubt is remembered.
GROUP: Final = 20_000
GROUP_BYTES: Final = 32 * 1024 * 1024
GROUP_COMMITS: Final = REMEMBERED
#: Most records that wait; callers beyond wait for room.
QUEUE: Final = 200_000
#: Most bytes and records of one commit: a message to the server has to stay below 1 GiB, `seq` within its bits.
COMMIT_BYTES: Final = 512 * 1024 * 1024
COMMIT_RECORDS: Final = 2**SEQ_BITS - GROUP - 1
#: After so many receipts of an epoch the server is asked to drop the oldest (of which it keeps as many).
CROWDED: Final = 8 * REMEMBERED
#: How often a commit is judged and sent again when others change what it was judged by in between.
ROUNDS: Final = 10
#: SQLSTATEs: a unique index objects; serialization failure, deadlock.
UNIQUE: Final = "23505"
_AGAIN: Final = ("40001", "40P01")

_WRITE: Final = f"SELECT flow_core.write({', '.join(f'${n}' for n in range(1, PARAMETERS + 1))})"
_FIND: Final = "SELECT id, key FROM flow_core.execution WHERE id = ANY($1) AND ended IS NULL"
_KNOWN: Final = "SELECT id, key, flow, request, epoch, ended FROM flow_core.execution WHERE id = ANY($1)"
_OUTCOMES: Final = (
    "SELECT o.execution, o.step FROM unnest($1::bigint[], $2::text[]) AS t(execution, step)"
    " JOIN flow_core.outcome AS o USING (execution, step)"
)
_RECEIPTED: Final = (
    "SELECT epoch, number FROM unnest($1::bigint[], $2::bigint[]) AS t(epoch, number)"
    " JOIN flow_core.receipt USING (epoch, number)"
)
_SEEN: Final = (
    "SELECT EXISTS (SELECT FROM flow_core.owner WHERE epoch = $1 AND NOT fenced),"
    " EXISTS (SELECT FROM flow_core.receipt WHERE epoch = $1 AND number = $2)"
)


class Job:
    """A commit and who waits for it."""

    __slots__ = ("bytes", "commit_id", "epoch", "future", "records")

    def __init__(
        self, future: asyncio.Future[None], epoch: Epoch, records: Sequence[Record], commit_id: int | None
    ) -> None:
        self.future = future
        self.epoch = epoch
        self.records = records
        self.commit_id = commit_id
        self.bytes = weight(records)

    def end(self, error: BaseException | None = None) -> None:
        if self.future.done():
            return  # the caller was cancelled; what it sent is written all the same
        if error is None:
            self.future.set_result(None)
        else:
            self.future.set_exception(error)


class Refusal(NamedTuple):
    """The server's no to a group, of which nothing was written. ``over``: epochs that are over."""

    error: Exception
    over: frozenset[int] = frozenset()


class Writer:
    """Sends commits over ``line``, in the order in which they came. Belongs to the loop it was made on."""

    def __init__(self, line: Line, place: Address, schema: str) -> None:
        self._line = line
        self._place = place
        self._texts = {text: named(text, schema) for text in (_WRITE, _FIND, _KNOWN, _OUTCOMES, _RECEIPTED, _SEEN)}
        #: Executions under way -> their keys, which never change: a stale one only makes the server object.
        self._keys: dict[str, int] = {}
        self._receipts: dict[int, int] = {}
        self._jobs: deque[Job] = deque()
        self._queued = 0
        self._waiters: list[asyncio.Future[None]] = []
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self._idle: asyncio.Future[None] | None = None
        self._task = self._loop.create_task(self._work(), name="flow-core-postgres")

    def know(self, execution: str, key: int) -> None:
        """Remember a key that was read elsewhere."""
        self._keys[execution] = key

    async def commit(self, epoch: Epoch, records: Sequence[Record], commit_id: int | None) -> None:
        """Queue a commit and wait for it, see `Store.commit`. Raises `LimitExceeded` for one beyond all reason."""
        job = Job(self._loop.create_future(), epoch, records, commit_id)
        if job.bytes > COMMIT_BYTES or len(records) > COMMIT_RECORDS:
            raise LimitExceeded(
                f"a commit of {len(records):,} records with {job.bytes:,} bytes; at most {COMMIT_RECORDS:,} with"
                f" {COMMIT_BYTES:,} bytes go into one",
                fix="send them in several commits",
            )
        while self._queued >= QUEUE and not self._closing:
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._waiters.append(waiter)
            await waiter
        if self._closing:
            raise self._closed()
        self._queued += len(records)
        self._jobs.append(job)
        self._wake()
        await job.future

    def _closed(self) -> StoreUnavailable:
        return StoreUnavailable(f"the store of {self._place} is closed", fix="open the store first")

    def _wake(self) -> None:
        idle, self._idle = self._idle, None
        if idle is not None and not idle.done():
            idle.set_result(None)

    async def close(self) -> None:
        """Write what has queued up, then end."""
        self._closing = True
        self._wake()
        self._let_in()
        await asyncio.wait([self._task])

    # --- the task -----------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        group: list[Job] = []
        try:
            while self._jobs or not self._closing:
                if not self._jobs:
                    self._idle = self._loop.create_future()
                    await self._idle
                    continue
                group = self._take()
                if not await self._group(group) and self._closing:
                    break  # with a server that is away, closing must not try them all
                if self._queued < QUEUE:
                    self._let_in()
        finally:  # after a break, or when the loop ends before the store was closed
            self._closing = True
            for job in [*group, *self._jobs]:
                job.end(self._closed())
            self._let_in()

    def _take(self) -> list[Job]:
        jobs = self._jobs
        group = [jobs.popleft()]
        size, count = group[0].bytes, len(group[0].records)
        while jobs and len(group) < GROUP_COMMITS:
            size += jobs[0].bytes
            count += len(jobs[0].records)
            if size > GROUP_BYTES or count > GROUP:
                break
            group.append(jobs.popleft())
        self._queued -= sum(len(job.records) for job in group)
        return group

    def _let_in(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _group(self, group: list[Job]) -> bool:
        """Write a group; each of its callers learns what became of its own commit. False: the line is broken."""
        try:
            await self._find(group)
            await self._part(group)
        except Exception as error:
            self._keys.clear()
            told = translated(error, self._place) if isinstance(error, (*BROKEN, FlowError)) else error
            for job in group:
                # A copy for each: two tasks that raise the same object would share its traceback.
                job.end(copy.copy(told))
            return False
        return True

    async def _find(self, group: list[Job]) -> None:
        """Learn the keys of executions that this store has not met: started elsewhere, or before it was opened."""
        ids = {record[0] for job in group for record in job.records} - self._keys.keys()
        if ids:
            ids -= {record[0] for job in group for record in job.records if type(record) is ExecutionStarted}
        if ids:
            try:
                self._keys.update(await self._line.run("fetch", self._texts[_FIND], [*ids]))
            except BROKEN as error:
                if not of_value(error):  # an id that can't be sent: its commit will fail alone
                    raise

    async def _part(self, part: list[Job]) -> None:
        while part:
            rows, count = together(part, self._keys)
            now, part = part[:count], part[count:]
            if not now:
                await self._alone(part.pop(0))
                continue
            refusal = await self._send(rows)
            if refusal is None:
                for job in now:
                    job.end()
            elif refusal.over:
                for job in now:
                    if job.epoch.number in refusal.over:
                        job.end(over(job.epoch))
                part = [*(job for job in now if job.epoch.number not in refusal.over), *part]
                self._keys.clear()
                await self._find(part)
            elif constraint_of(refusal.error) == "receipt_pkey" and (seen := await self._receipted(now)):
                there = [(job.epoch.number, job.commit_id) in seen for job in now]
                for job in compress(now, there):
                    job.end()
                part = [*(job for job, is_there in zip(now, there, strict=True) if not is_there), *part]
            elif count == 1:
                await self._alone(now[0])
            else:
                await self._part(now[: count // 2])
                await self._part(now[count // 2 :])

    async def _receipted(self, jobs: list[Job]) -> set[tuple[int, int | None]]:
        """Epochs and ids of those commits that were written before: sent again, as after a lost reply."""
        sent = [(job.epoch.number, job.commit_id) for job in jobs if job.commit_id is not None]
        return {(*row,) for row in await self._line.run("fetch", self._texts[_RECEIPTED], *zip(*sent, strict=True))}

    # --- sending ------------------------------------------------------------------------------------------------------

    async def _send(self, rows: Rows) -> Refusal | None:
        """Have the server write all or nothing. Raises what says nothing about whether it was written."""
        crowded = [number for number, count in self._receipts.items() if count >= CROWDED]
        try:
            parameters = rows.parameters(crowded)
        except Exception as error:  # a text of an error that no encoding takes
            return Refusal(error)
        try:
            made = await self._line.run("fetchval", self._texts[_WRITE], *parameters)
        except BROKEN as error:
            state = state_of(error)
            if state == ENDED_EPOCH:
                return Refusal(error, frozenset(map(int, detail_of(error).split(","))))
            if state in (NOT_LIVE, *_AGAIN) or state[:2] == "23" or of_value(error):
                return Refusal(error)
            raise
        for start, key in zip(rows.starts, made or (), strict=True):
            self._keys[start.execution] = key
        for id_ in rows.ended.values():
            self._keys.pop(id_, None)
        for number in crowded:
            del self._receipts[number]
        for number, _ in rows.receipts:
            self._receipts[number] = self._receipts.get(number, 0) + 1
        return None

    async def _alone(self, job: Job) -> None:
        """The long way of one commit. Raises only what is wrong with the line."""
        try:
            await self._long_way(job)
        except Exception as error:
            if not isinstance(error, BROKEN):
                job.end(error)
            elif of_value(error):
                job.end(translated(error, self._place))
            else:
                raise
        else:
            job.end()

    async def _long_way(self, job: Job) -> None:
        """Read the state, judge, write what is left; again when others were faster."""
        for _ in range(ROUNDS):
            stands, seen = await self._line.run("fetchrow", self._texts[_SEEN], job.epoch.number, job.commit_id)
            if not stands:
                raise over(job.epoch)
            if seen:
                return
            refusal = await self._send(await self._judge(job))
            if refusal is None:
                return
            if refusal.over:
                raise over(job.epoch)
            if state_of(refusal.error) not in (NOT_LIVE, UNIQUE, *_AGAIN):
                raise refusal.error
        raise StoreUnavailable(f"{self._place}: what a commit depends on changes all the time")

    async def _judge(self, job: Job) -> Rows:
        """The rows that are left to write. Raises `Conflict` and `LeaseLost`."""
        ids = {record.execution for record in job.records}
        for id_ in ids:
            self._keys.pop(id_, None)
        found = await self._line.run("fetch", self._texts[_KNOWN], [*ids])
        known = {row[0]: Known(*row[1:]) for row in found}
        steps = [(known[r.execution].key, r.step) for r in job.records if type(r) is StepEnded and r.execution in known]
        there = await self._line.run("fetch", self._texts[_OUTCOMES], *zip(*steps, strict=True)) if steps else ()
        kept = judged(job.epoch, job.records, known, {(key, step) for key, step in there})
        for id_, facts in known.items():
            if facts.ended is None:
                self._keys[id_] = facts.key
        rows = Rows()
        if not rows.add(Job(job.future, job.epoch, kept, job.commit_id), self._keys):
            raise InternalError("a commit that was judged is still not plain")
        return rows


def weight(records: Sequence[Record]) -> int:
    """Bytes of payload, near enough."""
    size = 0
    for record in records:
        if type(record) is StepEnded:
            if record[4] is not None:
                size += len(record[4])
        elif type(record) is ExecutionStarted:
            size += len(record.request) + len(record.options)
    return size


def over(epoch: Epoch) -> LeaseLost:
    return LeaseLost(f"epoch {epoch.number} of executor {epoch.executor!r} is over")
