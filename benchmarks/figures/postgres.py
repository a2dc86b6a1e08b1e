"""How many outcomes a second the PostgreSQL store commits, and how many durable steps an executor makes of it.

The same as `store` and `durability`, on a server of its own.

The server is started for it on this machine, heard on a unix socket, with `fsync` and `synchronous_commit` on. Without
PostgreSQL or asyncpg the figure says so and is left out.
"""

from benchmarks.figures.durability import executions
from benchmarks.figures.store import commits
from flow_core import run
from tests.servers.postgres import Server

label = "outcomes committed to a PostgreSQL of this machine, 1,000 executions in flight"
units = {"rows_per_s": "/s", "lonely_us": "us", "steps_s": "1/s", "lonely_step_us": "us"}


def measure(quick: bool = False) -> dict[str, float]:
    try:
        from flow_core.stores.postgres import PostgresStore
    except ImportError as error:  # the runner takes an ImportError for flow-core itself being absent
        raise RuntimeError(str(error)) from error
    server = Server(fsync=True)
    try:
        values = run(commits(PostgresStore(server.url), 5 if quick else 40))
        steps = run(executions(server.url, 2_000 if quick else 20_000, 10 if quick else 50))
        return {**values, "steps_s": steps["steps_s"], "lonely_step_us": steps["lonely_step_us"]}
    finally:
        server.stop()
