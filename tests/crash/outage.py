"""A server of a store that is killed under a loaded executor, and started again.

Lives here: that. Does not live here: the server (``tests/servers/postgres.py``), executors that are killed
(``kills.py``).
"""

import asyncio
import random

from tests.crash.flows import LOAD, SHAPES
from tests.crash.judge import Judge, Tally, look
from tests.crash.kills import Clients
from tests.crash.ledger import Ledger
from tests.crash.lives import Life

#: Executions that an executor is given each time, and lines that it says at most before its server dies: not more than
#: there will be, three for the shortest execution.
STARTS, MOST_LINES = 20, 60
#: Seconds of the lease: short, so that an executor that has nothing to write notices by its heartbeat.
LEASE = 0.6
#: The flows that start no child; `test_a_step_that_starts_a_child_outlives_an_outage` says why.
CHILDLESS = tuple(flow for flow in LOAD if all(spec.kind != "nest" for spec in SHAPES[flow].values()))


def outages(place, rounds, seed, flows=CHILDLESS):
    """Kill the server of a place ``rounds`` times. Returns the tally."""
    rng, tally = random.Random(seed), Tally()
    ledger = Ledger(place.folder / "ledger")
    judge, clients = Judge(tally), Clients(rng, flows)
    with Life(place, "only", lease=LEASE) as life:
        life.begin()
        life.until("open")
        asked = set()
        for _ in range(rounds):
            new = [start for start in clients.ask(STARTS) if start[0] not in asked]
            asked |= {id_ for id_, _ in new}
            life.do("start", starts=new)
            for _ in range(rng.randrange(1, MOST_LINES)):
                life.line()
            place.server.kill()
            while life.until("trouble", "log no heartbeat to the store:") == "None":
                pass
            place.server.start()
        life.do("drain")
        life.do("stop")
        life.until("stopped")
    asyncio.run(look(place, ledger, judge, life.lines, clients.wanted))
    ledger.close()
    return tally
