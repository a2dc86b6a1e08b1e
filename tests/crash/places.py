"""Where the executors of a suite keep their executions: a SQLite file, or a schema of a PostgreSQL server.

Lives here: how to name a place to a worker, and how to read what it holds right after a process died. Does not live
here: what has to stand there (``judge.py``).
"""

import secrets
import shutil
from contextlib import asynccontextmanager
from pathlib import Path

from flow_core.stores.sqlite import SqliteStore


class SqliteFile:
    """A file in ``folder``."""

    kind = "sqlite"

    def __init__(self, folder):
        self.folder = Path(folder)
        self.path = self.folder / "flow.db"
        #: The files and folders that SQLite writes.
        self.files = [f"{self.path}{end}" for end in ("", "-wal", "-shm", "-journal")] + [str(self.folder)]
        #: Arguments of `worker.make_store`.
        self.store = [f"sqlite:///{self.path}"]

    @asynccontextmanager
    async def left(self):
        """A store that shows what a killed process left. A copy: reading the file itself would begin to recover it."""
        copy = self.folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        for end in ("", "-wal", "-journal"):
            if (there := Path(f"{self.path}{end}")).exists():
                shutil.copy(there, copy / there.name)
        try:
            async with SqliteStore(str(copy / self.path.name)) as store:
                yield store
        finally:
            shutil.rmtree(copy)


class PostgresSchema:
    """A schema of a server of our own (``tests/servers/postgres.py``)."""

    kind = "postgresql"

    def __init__(self, folder, server, schema):
        self.folder = Path(folder)
        self.server = server
        self.schema = schema
        self.store = [server.url, schema]

    @classmethod
    def fresh(cls, folder, server):
        """A schema that nobody else has."""
        return cls(folder, server, f"crash_{secrets.token_hex(8)}")

    @asynccontextmanager
    async def left(self):
        """The store."""
        from flow_core.stores.postgres import PostgresStore

        async with PostgresStore(self.server.url, schema=self.schema) as store:
            yield store
