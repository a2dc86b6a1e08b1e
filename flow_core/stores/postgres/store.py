"""`PostgresStore`: durable on a PostgreSQL server, which the executors of several hosts share.

Three connections: commits, ownership (heartbeats shall not wait behind a long question), questions; made when needed. A
fourth one listens while somebody watches. Every write is one statement that commits by itself, so no lock of ours
outlives a process that froze, and a statement whose reply was lost is settled by its ``commit_id``.

Needs PostgreSQL 12 or newer, and sessions: a pooler that hands out connections by transaction or statement (pgbouncer's
modes of these names) keeps neither prepared statements nor LISTEN, and is not supported.
"""
# ruff: noqa: S608 - texts are constants of this module and a checked name of a schema; values are bound

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final

from flow_core.errors import FlowError, InvalidOption, LeaseLost, StoreUnavailable
from flow_core.model.ids import seconds
from flow_core.model.records import (
    Epoch,
    ExecutionInfo,
    ExecutionStarted,
    Page,
    Record,
    StepEnded,
    decode,
    decode_error,
)
from flow_core.model.revisions import Change, StoredDefinition
from flow_core.model.status import Status
from flow_core.model.store import Store, parse_cursor
from flow_core.stores.postgres.connection import (
    BROKEN,
    PostgresAddress,
    PostgresConnection,
    PostgresListener,
    translated,
)
from flow_core.stores.postgres.schema import named, prepare
from flow_core.stores.postgres.writer import PostgresWriter
from flow_core.stores.rules import epoch_over, other_steps
from flow_core.stores.watchers import Watchers

__all__ = ["PostgresStore"]

_SCHEMA: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}").fullmatch
_CHANGES: Final = {"work": Change.WORK, "definitions": Change.DEFINITIONS}
_ALL: Final = Change.WORK | Change.DEFINITIONS
_NOW: Final = "coalesce({}, extract(epoch FROM clock_timestamp()))"
_INFO: Final = "id, flow, revision, status, parent, started, ended, epoch, recoveries"
_RENEW: Final = (
    f"UPDATE flow_core.owner SET expires = {_NOW.format('$3')} + $2 WHERE epoch = $1 AND NOT fenced RETURNING epoch"
)
_RELEASE: Final = (
    "WITH gone AS (UPDATE flow_core.owner SET fenced = true, clean = true WHERE epoch = $1 AND NOT fenced"
    " RETURNING epoch) SELECT epoch, CASE WHEN EXISTS (SELECT FROM flow_core.execution AS x WHERE x.epoch = gone.epoch"
    " AND ended IS NULL) THEN pg_notify('flow_core_channel', 'work') END FROM gone"
)
_DEFINE: Final = (
    "WITH made AS (INSERT INTO flow_core.definition VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING flow),"
    " told AS (SELECT pg_notify('flow_core_channel', 'definitions') FROM made)"
    " SELECT (SELECT count(*) FROM told), (SELECT steps FROM flow_core.definition WHERE flow = $1 AND revision = $2)"
)
# The start, events (with a kind) and outcomes of one execution: one statement, so one moment.
_LOAD: Final = """
WITH this AS (SELECT * FROM flow_core.execution WHERE id = $1)
SELECT -1 AS seq, 0 AS kind, request AS body, flow AS step, revision AS attempt, NULL::smallint AS status,
    options AS output, NULL::bytea AS error, false AS recovered, false AS is_json, started, started AS ended, parent
    FROM this
UNION ALL SELECT e.seq, kind, body, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM this JOIN flow_core.event AS e ON e.execution = this.key
UNION ALL SELECT o.seq, NULL, NULL, step, attempt, o.status, output, error, recovered, is_json, o.started, o.ended, NULL
    FROM this JOIN flow_core.outcome AS o ON o.execution = this.key
ORDER BY seq"""
# The old ones that nobody needs, at most 1,000; what another process removes just now is left to it.
_RETAIN: Final = """
WITH old AS (
    SELECT key FROM flow_core.execution AS x WHERE {which} AND NOT EXISTS (
        SELECT FROM flow_core.execution AS up WHERE up.id = x.parent AND up.ended IS NULL)
    LIMIT 1000 FOR UPDATE OF x SKIP LOCKED
), outcomes AS (DELETE FROM flow_core.outcome USING old WHERE execution = old.key),
events AS (DELETE FROM flow_core.event USING old WHERE execution = old.key),
gone AS (DELETE FROM flow_core.execution AS x USING old WHERE x.key = old.key RETURNING 1)
SELECT count(*) FROM gone"""
_BY_AGE: Final = f"ended < {_NOW.format('$2')} - $1"
_BY_COUNT: Final = (
    "ended IS NOT NULL AND (ended, key) <= (SELECT ended, key FROM flow_core.execution WHERE ended IS NOT NULL"
    " ORDER BY ended DESC, key DESC LIMIT 1 OFFSET $1)"
)
_CHECKS: Final = {
    "{} rows of outcome belong to no execution": "FROM flow_core.outcome AS o WHERE NOT EXISTS"
    " (SELECT FROM flow_core.execution WHERE key = o.execution)",
    "{} rows of event belong to no execution": "FROM flow_core.event AS e WHERE NOT EXISTS"
    " (SELECT FROM flow_core.execution WHERE key = e.execution)",
    "{} unfinished executions have an owner that is not known: nobody can claim them": "FROM flow_core.execution AS x"
    " WHERE ended IS NULL AND NOT EXISTS (SELECT FROM flow_core.owner AS o WHERE o.epoch = x.epoch)",
    "{} executions have a key that the counter will give again": "FROM flow_core.execution"
    " WHERE key > (SELECT last_value FROM flow_core.execution_key)",
}


class PostgresStore(Store):
    """Keeps executions in one schema of a PostgreSQL database, which executors on several hosts may share.

        store = PostgresStore("postgresql://user:password@db.internal/flows", schema="shop")
        async with store, Flow(store=store) as flow:
            await flow.executor.list(limit=10)

    Args:
        url: ``postgresql://user:password@host:5432/database``, ``postgresql:///database?host=/socket/folder``; what it
            leaves out comes from libpq's environment variables, its password file, or its defaults.
        schema: name of the schema; `open` creates it when it is not there.
        timeout: seconds for connecting and for each statement, those of `check` and `retain` too; `StoreTimeout`
            beyond.
        clock: gives UTC seconds, for leases and for retention by age; None: the server's clock, the same for all hosts.

    Raises:
        InvalidOption: the URL or the name of the schema is not valid; from `open`: user, password, database or rights
            are wrong.
        ImportError: asyncpg is not installed (``pip install 'flow-core[postgres]'``).
    """

    def __init__(
        self,
        url: str,
        *,
        schema: str = "flow_core",
        timeout: float = 30.0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        if not _SCHEMA(schema) or schema.startswith("pg_") or schema == "public":
            raise InvalidOption(
                f"not a name for a schema of our own: {schema!r:.80}", fix="use letters, digits and _, as in flow_core"
            )
        self._place: Final = PostgresAddress(url)
        self._schema: Final = schema
        self._timeout: Final = seconds(timeout, "PostgresStore.timeout") or 30.0
        self._clock: Final = clock
        self._writer: PostgresWriter | None = None
        self._listener: PostgresListener | None = None
        self._connections: dict[str, PostgresConnection] = {}
        self._watchers = Watchers()

    def __repr__(self) -> str:
        return f"<PostgresStore {self._place}, schema {self._schema}>"

    # --- life ---------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        if self._writer is not None:
            return
        connections = {
            name: PostgresConnection(self._place, self._timeout) for name in ("commits", "owners", "questions")
        }
        try:
            await connections["owners"].with_connection(lambda it: prepare(it, self._schema, repr(self._place)))
        except FlowError:
            raise
        except (*BROKEN, ValueError) as error:
            told = translated(error, self._place, opening=True)
            # What is said about a URL may quote it; what a server or the network says does not.
            raise told from (None if isinstance(error, ValueError) else error)
        if self._writer is not None:  # two callers at once, and the other one was faster
            await connections["owners"].close()
            return
        self._connections = connections
        self._writer = PostgresWriter(connections["commits"], self._place, self._schema)
        if self._watchers:
            self._listen()

    async def close(self) -> None:
        writer, self._writer = self._writer, None
        listener, self._listener = self._listener, None
        if writer is not None:
            await writer.close()
        if listener is not None:
            await listener.close()
        connections, self._connections = self._connections, {}
        for connection in connections.values():
            await connection.close()

    def watch(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        stop = self._watchers.add(callback)
        if self._writer is not None and self._listener is None:
            self._listen()
        return stop

    def _listen(self) -> None:
        self._listener = PostgresListener(
            self._place, self._timeout, self._schema, lambda text: self._watchers.tell(_CHANGES.get(text, _ALL))
        )

    async def _ask(self, connection: str, method: str, query: str, *values: Any) -> Any:
        """One statement. Raises the errors of stores."""
        if self._writer is None:
            raise StoreUnavailable(f"the store of {self._place} is closed", fix="open the store first")
        try:
            return await self._connections[connection].run(method, named(query, self._schema), *values)
        except BROKEN as error:
            raise translated(error, self._place) from error

    def _now(self) -> float | None:
        return None if self._clock is None else self._clock()

    # --- owning -------------------------------------------------------------------------------------------------------

    async def begin(self, executor: str, lease: float) -> Epoch:
        begin = "SELECT flow_core.begin($1, $2, $3)"
        return Epoch(await self._ask("owners", "fetchval", begin, executor, lease, self._now()), executor, lease)

    async def renew(self, epoch: Epoch) -> None:
        if await self._ask("owners", "fetchval", _RENEW, epoch.number, epoch.lease, self._now()) is None:
            raise epoch_over(epoch)

    async def release(self, epoch: Epoch) -> None:
        if await self._ask("owners", "fetchrow", _RELEASE, epoch.number) is None:
            raise epoch_over(epoch)

    async def owners(self) -> Sequence[str]:
        query = "SELECT executor FROM flow_core.owner WHERE NOT fenced ORDER BY epoch"
        return [name for (name,) in await self._ask("questions", "fetch", query)]

    async def claim(self, epoch: Epoch, limit: int = 100) -> Sequence[ExecutionInfo]:
        query = f"SELECT key, {_INFO} FROM flow_core.claim($1, $2, $3) ORDER BY key"
        try:
            rows = await self._ask("owners", "fetch", query, epoch.number, self._now(), limit)
        except LeaseLost as error:
            raise epoch_over(epoch) from error
        if self._writer is not None:
            for key, id_, *_ in rows:
                self._writer.know(id_, key)
        return [info(row[1:]) for row in rows]

    # --- writing ------------------------------------------------------------------------------------------------------

    async def commit(self, epoch: Epoch, records: Sequence[Record], *, commit_id: int | None = None) -> None:
        if self._writer is None:
            raise StoreUnavailable(f"the store of {self._place} is closed", fix="open the store first")
        await self._writer.commit(epoch, records, commit_id)

    async def save_definition(self, flow: str, revision: int, steps: bytes, owner: str = "") -> None:
        found = None
        made = 0
        while not made and found is None:  # neither: somebody saves it right now; wait for that and look again
            made, found = await self._ask("owners", "fetchrow", _DEFINE, flow, revision, steps, owner)
        if not made and found != steps:
            raise other_steps(flow, revision)

    async def retain(self, keep: timedelta | int) -> int:
        values: tuple[Any, ...]
        if isinstance(keep, timedelta):
            query, values = _RETAIN.replace("{which}", _BY_AGE), (keep.total_seconds(), self._now())
        else:
            query, values = _RETAIN.replace("{which}", _BY_COUNT), (keep,)
        removed = 0
        while count := await self._ask("questions", "fetchval", query, *values):
            removed += count
        return removed

    # --- reading ------------------------------------------------------------------------------------------------------

    async def load(self, execution: str) -> Sequence[Record]:
        return [record_of(execution, row) for row in await self._ask("questions", "fetch", _LOAD, execution)]

    async def list(
        self,
        flow: str | None = None,
        status: Status | None = None,
        since: float | None = None,
        limit: int = 100,
        cursor: str | None = None,
        *,
        unfinished: bool = False,
    ) -> Page:
        wanted = {"flow = ": flow, "status = ": status, "started >= ": since, "key < ": parse_cursor(cursor)}
        given = [(text, value) for text, value in wanted.items() if value is not None]
        where = [f"{text}${n}" for n, (text, _) in enumerate(given, 2)]
        where += ["ended IS NULL"] if unfinished else []
        query = (
            f"SELECT key, {_INFO} FROM flow_core.execution {'WHERE' if where else ''} {' AND '.join(where)}"
            " ORDER BY key DESC LIMIT $1"
        )
        rows = await self._ask("questions", "fetch", query, limit + 1, *(value for _, value in given))
        return Page([info(row[1:]) for row in rows[:limit]], str(rows[limit - 1][0]) if len(rows) > limit else None)

    async def definitions(self, flow: str | None = None, *, after: int = 0) -> Sequence[StoredDefinition]:
        query = (
            "SELECT flow, revision, steps, owner FROM flow_core.definition"
            " WHERE ($1::text IS NULL OR flow = $1) AND revision > $2 ORDER BY flow, revision"
        )
        return [StoredDefinition(*row) for row in await self._ask("questions", "fetch", query, flow, after)]

    async def check(self) -> Sequence[str]:
        wrong = []
        for text, query in _CHECKS.items():
            if count := await self._ask("questions", "fetchval", f"SELECT count(*) {query}"):
                wrong.append(text.format(count))
        return wrong


def info(row: Sequence[Any]) -> ExecutionInfo:
    """A row of `_INFO` as the facts about one execution."""
    id_, flow, revision, status, *rest = row
    return ExecutionInfo(id_, flow, revision, Status(status), *rest)


def record_of(execution: str, row: Sequence[Any]) -> Record:
    """A row of `_LOAD` as a record."""
    _, kind, body, step, attempt, status, output, error, recovered, json, started, ended, parent = row
    if kind is None:
        facts = (output, decode_error(error), recovered, json)
        return StepEnded(execution, step, attempt, status, *facts, started, ended)
    if kind == 0:
        return ExecutionStarted(execution, step, attempt, body, output, parent, started)
    return decode(kind, execution, body)
