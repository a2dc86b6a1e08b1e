"""Commits on PostgreSQL, one at a time, each of them one statement: one round trip, one wait for the server's disk.

The short way takes for granted that a commit is fine and lets the server object: it checks owners, ends, outcomes and
receipts under the lock of the owner. What it objects to goes the long way: the state is read, `judge` tells what is
left to write, or why nothing is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from flow_core.errors import InternalError, LimitExceeded, StoreUnavailable
from flow_core.model.records import Epoch, ExecutionStarted, Record, StepEnded
from flow_core.model.store import REMEMBERED
from flow_core.stores.postgres.connection import (
    BROKEN,
    PostgresAddress,
    PostgresConnection,
    of_value,
    state_of,
    translated,
)
from flow_core.stores.postgres.rows import PARAMETERS, PostgresRows
from flow_core.stores.postgres.schema import ENDED_EPOCH, NOT_LIVE, SEQ_BITS, named
from flow_core.stores.rules import KnownExecution, epoch_over, judge

__all__ = ["PostgresWriter"]

#: Most bytes and records of one commit: a message to the server has to stay below 1 GiB, `seq` within its bits.
COMMIT_BYTES: Final = 512 * 1024 * 1024
COMMIT_RECORDS: Final = 2**SEQ_BITS - 1
#: After so many receipts of an epoch the server is asked to drop the oldest (of which it keeps as many).
CROWDED: Final = 8 * REMEMBERED
#: How often a commit is judged and sent again when others change what it was judged by in between.
ROUNDS: Final = 10
#: SQLSTATEs: serialization failure, deadlock.
_AGAIN: Final = ("40001", "40P01")
#: SQLSTATE: a unique index objects.
UNIQUE: Final = "23505"

_WRITE: Final = f"SELECT flow_core.write({', '.join(f'${n}' for n in range(1, PARAMETERS + 1))})"
_FIND: Final = "SELECT id, key FROM flow_core.execution WHERE id = ANY($1) AND ended IS NULL"
_KNOWN: Final = "SELECT id, key, flow, request, epoch, ended FROM flow_core.execution WHERE id = ANY($1)"
_OUTCOMES: Final = (
    "SELECT o.execution, o.step FROM unnest($1::bigint[], $2::text[]) AS t(execution, step)"
    " JOIN flow_core.outcome AS o USING (execution, step)"
)
_SEEN: Final = (
    "SELECT EXISTS (SELECT FROM flow_core.owner WHERE epoch = $1 AND NOT fenced),"
    " EXISTS (SELECT FROM flow_core.receipt WHERE epoch = $1 AND number = $2)"
)


class PostgresWriter:
    """Writes commits over one connection, in the order in which they were asked for."""

    def __init__(self, connection: PostgresConnection, place: PostgresAddress, schema: str) -> None:
        self._connection = connection
        self._place = place
        self._texts = {text: named(text, schema) for text in (_WRITE, _FIND, _KNOWN, _OUTCOMES, _SEEN)}
        #: Executions under way -> their keys, which never change: a stale one only makes the server object.
        self._keys: dict[str, int] = {}
        self._receipts: dict[int, int] = {}
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = self._closed = False

    def know(self, execution: str, key: int) -> None:
        """Remember a key that was read elsewhere."""
        self._keys[execution] = key

    async def commit(self, epoch: Epoch, records: Sequence[Record], commit_id: int | None) -> None:
        """Write a commit, also when the caller is cancelled. Errors as `Store.commit`, and `LimitExceeded`."""
        size = weight(records)
        if size > COMMIT_BYTES or len(records) > COMMIT_RECORDS:
            raise LimitExceeded(
                f"a commit of {len(records):,} records with {size:,} bytes; at most {COMMIT_RECORDS:,} with"
                f" {COMMIT_BYTES:,} bytes go into one",
                fix="send them in several commits",
            )
        if self._closing:
            raise self._is_closed()
        task = asyncio.create_task(self._commit(epoch, records, commit_id), name="flow-core-postgres")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():  # the loop is being shut down
                raise self._is_closed() from None
            raise

    def _is_closed(self) -> StoreUnavailable:
        return StoreUnavailable(f"the store of {self._place} is closed", fix="open the store first")

    async def close(self) -> None:
        """Write what was asked for, then end."""
        self._closing = True
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _commit(self, epoch: Epoch, records: Sequence[Record], commit_id: int | None) -> None:
        async with self._turn:
            if self._closed:
                raise self._is_closed()
            try:
                if not await self._short_way(epoch, records, commit_id):
                    await self._long_way(epoch, records, commit_id)
            except BROKEN as error:
                if not of_value(error):
                    self._keys.clear()
                    self._closed = self._closing  # with a server that is away, closing must not try them all
                raise translated(error, self._place) from error

    # --- sending ------------------------------------------------------------------------------------------------------

    async def _short_way(self, epoch: Epoch, records: Sequence[Record], commit_id: int | None) -> bool:
        """Let the server judge. False: it objects, or the commit can't be told without what it knows."""
        await self._find(records)
        rows = PostgresRows(epoch.number, commit_id)
        try:
            if not rows.add(records, self._keys):
                return False
        except Exception:  # a text that no encoding takes: raised again on the long way
            return False
        return await self._send(epoch, rows) is None

    async def _find(self, records: Sequence[Record]) -> None:
        """Learn the keys of executions that this store has not met: started elsewhere, or before it was opened."""
        ids = {record[0] for record in records} - self._keys.keys()
        if ids:
            ids -= {record[0] for record in records if type(record) is ExecutionStarted}
        if ids:
            try:
                self._keys.update(await self._connection.run("fetch", self._texts[_FIND], [*ids]))
            except BROKEN as error:
                if not of_value(error):  # an id that can't be sent: the long way says so
                    raise

    async def _send(self, epoch: Epoch, rows: PostgresRows) -> Exception | None:
        """Have the server write all or nothing; returns its objection. Raises what leaves open whether it wrote."""
        number = epoch.number
        crowded = self._receipts.get(number, 0) >= CROWDED
        try:
            parameters = rows.parameters(crowded)
        except Exception as error:  # a text of an error that no encoding takes
            return error
        try:
            made = await self._connection.run("fetchval", self._texts[_WRITE], *parameters)
        except BROKEN as error:
            state = state_of(error)
            if state == ENDED_EPOCH:
                raise epoch_over(epoch) from error
            if state in (NOT_LIVE, *_AGAIN) or state[:2] == "23" or of_value(error):
                return error
            raise
        for start, key in zip(rows.starts, made or (), strict=True):
            self._keys[start.execution] = key
        for id_ in rows.ended.values():
            self._keys.pop(id_, None)
        if crowded:
            del self._receipts[number]
        if rows.commit_id is not None:
            self._receipts[number] = self._receipts.get(number, 0) + 1
        return None

    async def _long_way(self, epoch: Epoch, records: Sequence[Record], commit_id: int | None) -> None:
        """Read the state, judge, write what is left; again when others were faster."""
        for _ in range(ROUNDS):
            stands, seen = await self._connection.run("fetchrow", self._texts[_SEEN], epoch.number, commit_id)
            if not stands:
                raise epoch_over(epoch)
            if seen:
                return
            rows = PostgresRows(epoch.number, commit_id)
            if not rows.add(await self._judge(epoch, records), self._keys):
                raise InternalError("a commit that was judged is still not plain")
            objection = await self._send(epoch, rows)
            if objection is None:
                return
            if state_of(objection) not in (NOT_LIVE, UNIQUE, *_AGAIN):
                raise objection
        raise StoreUnavailable(f"{self._place}: what a commit depends on changes all the time")

    async def _judge(self, epoch: Epoch, records: Sequence[Record]) -> list[Record]:
        """The records that are left to write. Raises `Conflict` and `LeaseLost`."""
        ids = {record.execution for record in records}
        for id_ in ids:
            self._keys.pop(id_, None)
        found = await self._connection.run("fetch", self._texts[_KNOWN], [*ids])
        known = {id_: KnownExecution(key, owner, ended) for id_, key, _, _, owner, ended in found}
        names = {key: id_ for id_, key, *_ in found}
        steps = [(known[r.execution].key, r.step) for r in records if type(r) is StepEnded and r.execution in known]
        there = await self._connection.run("fetch", self._texts[_OUTCOMES], *zip(*steps, strict=True)) if steps else ()
        starts = {id_: (flow, request) for id_, _, flow, request, *_ in found}
        kept = judge(epoch, records, known, starts, {(names[key], step) for key, step in there})
        self._keys.update((id_, facts.key) for id_, facts in known.items() if facts.ended is None)
        return kept


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
