"""The tables and functions behind `PostgresStore`, as numbered migrations.

Everything that writes is one statement that commits by itself: a process that is frozen between two statements never
holds a lock that others wait for. Whatever writes for an epoch first locks the row of its owner (``FOR NO KEY
UPDATE``): that serializes the writers of one epoch, and whoever fences it (an ``UPDATE`` of the same row) comes wholly
before or wholly after. Functions are plpgsql because each statement of theirs sees what was committed before it began:
what is read after the lock was won is what the lock protects.

Ids compare by their bytes (``COLLATE "C"``): faster, and the same on every server.
"""
# ruff: noqa: S608 - names of schemas are checked by `PostgresStore`, nothing else is put into a statement

from __future__ import annotations

from typing import Any, Final

from flow_core.errors import ForeignStore, SchemaTooNew

__all__ = ["ENDED_EPOCH", "MIGRATIONS", "NOT_LIVE", "SEQ_BITS", "named", "prepare"]

#: SQLSTATEs of our own: an epoch is over (its DETAIL names which); an execution is not live or not the epoch's.
ENDED_EPOCH: Final = "FC001"
NOT_LIVE: Final = "FC002"
#: A record's ``seq`` is the number of its transaction, shifted by this, plus its place in there.
SEQ_BITS: Final = 22
#: The comment on the table `migration` by which we know our own schema.
MARK: Final = "flow-core"
# Plans are made when tables are young and used when they are old, so the statements leave little to plan: row by row,
# by an index. (A join of 1,000 keys with a table that looked empty was a loop of a million.)
_LOOKUPS: Final = "SET enable_seqscan = off SET enable_bitmapscan = off"

_TABLES: Final = (
    """CREATE TABLE flow_core.owner (epoch bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, executor text NOT NULL,
        expires double precision NOT NULL, fenced boolean NOT NULL DEFAULT false, clean boolean NOT NULL DEFAULT false)
        WITH (fillfactor = 50)""",
    """CREATE TABLE flow_core.receipt (epoch bigint NOT NULL, number bigint NOT NULL, seq bigint NOT NULL,
        PRIMARY KEY (epoch, number))""",
    """CREATE TABLE flow_core.execution (key bigint PRIMARY KEY, id text COLLATE "C" NOT NULL UNIQUE,
        flow text COLLATE "C" NOT NULL, revision bigint NOT NULL, status smallint NOT NULL, parent text COLLATE "C",
        started double precision NOT NULL, ended double precision, epoch bigint NOT NULL,
        recoveries integer NOT NULL DEFAULT 0, progress bigint NOT NULL DEFAULT -1,
        request bytea NOT NULL, options bytea NOT NULL)""",
    "CREATE INDEX unfinished ON flow_core.execution (key) WHERE ended IS NULL",
    "CREATE INDEX unfinished_of ON flow_core.execution (epoch, key) WHERE ended IS NULL",
    "CREATE INDEX finished ON flow_core.execution (ended, key) WHERE ended IS NOT NULL",
    """CREATE TABLE flow_core.outcome (seq bigint NOT NULL, execution bigint NOT NULL, step text COLLATE "C" NOT NULL,
        attempt integer NOT NULL, status smallint NOT NULL, output bytea, error bytea, recovered boolean NOT NULL,
        is_json boolean NOT NULL, started double precision NOT NULL, ended double precision NOT NULL)""",
    "CREATE UNIQUE INDEX one_outcome ON flow_core.outcome (execution, step)",
    """CREATE TABLE flow_core.event (seq bigint NOT NULL, execution bigint NOT NULL, kind smallint NOT NULL,
        body bytea NOT NULL)""",
    "CREATE INDEX event_of ON flow_core.event (execution)",
    """CREATE TABLE flow_core.definition (flow text COLLATE "C" NOT NULL, revision bigint NOT NULL,
        steps bytea NOT NULL, owner text NOT NULL, PRIMARY KEY (flow, revision))""",
    "CREATE SEQUENCE flow_core.turn",
    "CREATE SEQUENCE flow_core.execution_key",
)

# One group of commits, all or nothing. Executions that the same call starts are -1, -2, ... in the other parts;
# the keys they got are returned in that order. NULL for `errors`, `recovered`, `as_json`: none of the outcomes has it.
_WRITE: Final = f"""
CREATE FUNCTION flow_core.write(
    epochs bigint[], receipt_epochs bigint[], receipt_numbers bigint[], crowded bigint[],
    ids text[], flows text[], revisions bigint[], requests bytea[], options bytea[], parents text[],
    begun double precision[], owners bigint[], running smallint,
    live bigint[], live_epochs bigint[],
    nths integer[], executions bigint[], steps text[], attempts integer[], statuses smallint[], outputs bytea[],
    errors bytea[], recovered boolean[], as_json boolean[], started double precision[], ended double precision[],
    event_nths integer[], event_executions bigint[], kinds smallint[], bodies bytea[],
    changed bigint[], new_statuses smallint[], ends double precision[], resumed boolean[]
) RETURNS bigint[] LANGUAGE plpgsql {_LOOKUPS} AS $$
DECLARE
    base bigint;
    found_rows bigint;
    made bigint[];
BEGIN
    PERFORM FROM flow_core.owner WHERE epoch = ANY(epochs) AND NOT fenced ORDER BY epoch FOR NO KEY UPDATE;
    GET DIAGNOSTICS found_rows = ROW_COUNT;
    IF found_rows < cardinality(epochs) THEN
        RAISE EXCEPTION 'an epoch is over' USING ERRCODE = '{ENDED_EPOCH}', DETAIL = (
            SELECT string_agg(e::text, ',') FROM unnest(epochs) AS e
            WHERE NOT EXISTS (SELECT FROM flow_core.owner WHERE epoch = e AND NOT fenced));
    END IF;
    base := nextval('flow_core.turn') << {SEQ_BITS};
    IF cardinality(receipt_numbers) > 0 THEN
        INSERT INTO flow_core.receipt SELECT e, n, base + i
        FROM unnest(receipt_epochs, receipt_numbers) WITH ORDINALITY AS t(e, n, i);
    END IF;
    SELECT count(*) INTO found_rows
    FROM unnest(live, live_epochs) AS t(k, e) CROSS JOIN LATERAL (
        SELECT FROM flow_core.execution AS x WHERE x.key = t.k AND x.epoch = t.e AND x.ended IS NULL OFFSET 0) AS sound;
    IF found_rows < cardinality(live) THEN
        RAISE EXCEPTION 'an execution is not live' USING ERRCODE = '{NOT_LIVE}';
    END IF;
    IF cardinality(ids) > 0 THEN
        made := ARRAY(SELECT nextval('flow_core.execution_key') FROM generate_series(1, cardinality(ids)));
        INSERT INTO flow_core.execution
            (key, id, flow, revision, status, request, options, parent, started, epoch)
        SELECT k, i, f, r, running, q, o, p, b, e
        FROM unnest(made, ids, flows, revisions, requests, options, parents, begun, owners)
            AS t(k, i, f, r, q, o, p, b, e);
    END IF;
    INSERT INTO flow_core.outcome
    SELECT base + n, CASE WHEN x < 0 THEN made[-x] ELSE x END, s, a, t, o, e,
        coalesce(r, false), coalesce(j, false), b, d
    FROM unnest(nths, executions, steps, attempts, statuses, outputs, errors, recovered, as_json, started, ended)
        AS u(n, x, s, a, t, o, e, r, j, b, d);
    IF cardinality(event_nths) > 0 THEN
        INSERT INTO flow_core.event SELECT base + n, CASE WHEN x < 0 THEN made[-x] ELSE x END, k, b
        FROM unnest(event_nths, event_executions, kinds, bodies) AS t(n, x, k, b);
    END IF;
    FOR i IN 1 .. cardinality(changed) LOOP
        UPDATE flow_core.execution SET status = new_statuses[i], ended = ends[i],
            recoveries = CASE WHEN resumed[i] THEN 0 ELSE recoveries END
        WHERE key = CASE WHEN changed[i] < 0 THEN made[-changed[i]] ELSE changed[i] END;
    END LOOP;
    PERFORM flow_core.forget(e) FROM unnest(crowded) AS e;
    RETURN made;
END $$"""

_FUNCTIONS: Final = (
    # Only the latest receipts are kept: far more than callers are promised, and than one group can hold.
    """CREATE FUNCTION flow_core.forget(which bigint) RETURNS void LANGUAGE sql AS $$
        DELETE FROM flow_core.receipt WHERE epoch = which AND seq <= (
            SELECT seq FROM flow_core.receipt WHERE epoch = which ORDER BY seq DESC OFFSET 8192 LIMIT 1) $$""",
    _WRITE,
    # A new epoch. Owners that can never matter again go, and their receipts: who is fenced sends nothing again.
    f"""CREATE FUNCTION flow_core.begin(name text, lease double precision, now double precision)
    RETURNS bigint LANGUAGE plpgsql {_LOOKUPS} AS $$
    DECLARE
        number bigint;
        freed boolean;
    BEGIN
        PERFORM pg_advisory_xact_lock(hashtextextended('flow-core flow_core. ' || name, 0));
        UPDATE flow_core.owner SET fenced = true WHERE executor = name AND NOT fenced;
        freed := FOUND;
        WITH idle AS (
            SELECT epoch FROM flow_core.owner AS o WHERE fenced AND (
                SELECT key FROM flow_core.execution AS x WHERE x.epoch = o.epoch AND x.ended IS NULL LIMIT 1) IS NULL
            FOR UPDATE SKIP LOCKED
        ), gone AS (DELETE FROM flow_core.owner AS o USING idle WHERE o.epoch = idle.epoch RETURNING o.epoch)
        DELETE FROM flow_core.receipt AS r USING gone WHERE r.epoch = gone.epoch;
        INSERT INTO flow_core.owner (executor, expires)
            VALUES (name, coalesce(now, extract(epoch FROM clock_timestamp())) + lease) RETURNING epoch INTO number;
        IF freed THEN
            PERFORM pg_notify('flow_core_channel', 'work');
        END IF;
        RETURN number;
    END $$""",
    # Fencing skips rows that are locked: their owners are writing right now, and two who fence each other would wait
    # for ever. What is skipped is there for the next call.
    f"""CREATE FUNCTION flow_core.claim(me bigint, now double precision, most bigint)
    RETURNS SETOF flow_core.execution LANGUAGE plpgsql {_LOOKUPS} AS $$
    DECLARE
        done bigint;
        dead record;
        taken flow_core.execution;
    BEGIN
        PERFORM FROM flow_core.owner WHERE epoch = me AND NOT fenced FOR NO KEY UPDATE;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the epoch is over' USING ERRCODE = '{ENDED_EPOCH}', DETAIL = me;
        END IF;
        UPDATE flow_core.owner SET fenced = true WHERE epoch IN (
            SELECT epoch FROM flow_core.owner
            WHERE NOT fenced AND epoch <> me AND expires < coalesce(now, extract(epoch FROM clock_timestamp()))
            FOR NO KEY UPDATE SKIP LOCKED);
        IF FOUND THEN
            PERFORM pg_notify('flow_core_channel', 'work');
        END IF;
        FOR dead IN
            SELECT its.key, o.clean FROM flow_core.owner AS o CROSS JOIN LATERAL (
                SELECT key FROM flow_core.execution AS x WHERE x.epoch = o.epoch AND x.ended IS NULL
                ORDER BY key LIMIT most FOR UPDATE SKIP LOCKED) AS its
            WHERE o.fenced ORDER BY its.key LIMIT most
        LOOP
            IF NOT dead.clean THEN
                SELECT count(*) INTO done FROM flow_core.outcome WHERE execution = dead.key;
            END IF;
            UPDATE flow_core.execution SET epoch = me,
                recoveries = CASE WHEN dead.clean THEN recoveries WHEN progress = done THEN recoveries + 1 ELSE 1 END,
                progress = CASE WHEN dead.clean THEN progress ELSE done END
            WHERE key = dead.key RETURNING * INTO taken;
            RETURN NEXT taken;
        END LOOP;
    END $$""",
)

#: Number n brings a schema from version n to n + 1. A released one is never changed.
MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = ((*_TABLES, *_FUNCTIONS),)


def named(text: str, schema: str) -> str:
    """A statement written for the schema ``flow_core``, for another one."""
    text = text.replace("flow_core_channel", schema)
    return text.replace("flow_core.", f'"{schema}".')


async def prepare(connection: Any, schema: str, place: str) -> None:
    """Create or migrate the schema; several processes may do so at once.

    Raises `ForeignStore` and `SchemaTooNew`, nothing touched; what the server says is raised as it comes.
    """
    if await version_of(connection, schema, place) == len(MIGRATIONS):
        return
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"flow-core {schema}")
        version = await version_of(connection, schema, place)
        if version is None:
            await connection.execute(f'CREATE SCHEMA "{schema}"')
        if not version:
            create = "CREATE TABLE flow_core.migration (version integer PRIMARY KEY, applied timestamptz DEFAULT now())"
            await connection.execute(named(create, schema))
            await connection.execute(named(f"COMMENT ON TABLE flow_core.migration IS '{MARK}'", schema))
        for number in range(version or 0, len(MIGRATIONS)):
            for statement in MIGRATIONS[number]:
                await connection.execute(named(statement, schema))
            await connection.execute(named("INSERT INTO flow_core.migration VALUES ($1)", schema), number + 1)


async def version_of(connection: Any, schema: str, place: str) -> int | None:
    """The version of the schema: 0 when it is empty, None when it does not exist."""
    row = await connection.fetchrow(
        "SELECT (SELECT obj_description(oid, 'pg_class') FROM pg_class"
        "        WHERE relnamespace = n.oid AND relname = 'migration') AS mark,"
        " EXISTS (SELECT FROM pg_class WHERE relnamespace = n.oid)"
        " OR EXISTS (SELECT FROM pg_proc WHERE pronamespace = n.oid) AS used"
        " FROM pg_namespace AS n WHERE nspname = $1",
        schema,
    )
    if row is None:
        return None
    if not row["used"]:
        return 0
    if row["mark"] != MARK:
        raise ForeignStore(
            f"schema {schema!r} of {place} belongs to another program", fix="name another one: PostgresStore(schema=)"
        )
    version: int = await connection.fetchval(named("SELECT coalesce(max(version), 0) FROM flow_core.migration", schema))
    if version > len(MIGRATIONS):
        raise SchemaTooNew(
            f"{place} has schema {version}, this version knows {len(MIGRATIONS)}", fix="update flow-core"
        )
    return version
