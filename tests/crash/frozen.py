"""Two executors on one store, one of them frozen past its lease and woken again.

In each episode one executor holds executions in the middle of a step and is stopped by SIGSTOP. The other one takes
them over when the lease is over and ends them. Then the first one wakes, not knowing that it was ever away, and goes on
to write what its steps came to: each such write has to be refused.

Lives here: the episodes. Does not live here: where the executions are kept: any place will do (``places.py``).
"""

import asyncio
import json

from tests.crash.judge import Judge, Tally, look
from tests.crash.ledger import Ledger
from tests.crash.lives import Life

#: Seconds of a lease, and executions of an episode.
LEASE, BATCH = 0.5, 5


def fenced(life):
    """How many of its writes have been refused because it was no longer the owner."""
    life.do("report")
    return json.loads(life.until("report"))["fenced"]


def episode(frozen, other, names):
    """Freeze one in the middle of ``names``, until the other one has ended them."""
    frozen.do("freeze", at=len(names))
    frozen.until("armed")
    frozen.do("start", starts=[[name, "gated"] for name in names])
    frozen.wait_stopped()
    waiting = set(names)
    while waiting:
        waiting.discard(other.until("ended").partition(" ")[0])
    frozen.wake()
    waiting = set(names)
    while waiting:  # what it had begun is no longer its own
        waiting.discard(frozen.until("lost"))


def freeze(place, episodes):
    """Returns (writes refused, tally)."""
    ledger, tally = Ledger(place.folder / "ledger"), Tally()
    judge = Judge(tally, alone=False)
    wanted, refused = {}, 0
    with Life(place, "one", lease=LEASE) as one, Life(place, "two", lease=LEASE) as two:
        pair = [one, two]
        for life in pair:
            life.begin()
            life.until("open")
        for number in range(episodes):
            names = [f"episode-{number}-{n}" for n in range(BATCH)]
            wanted |= dict.fromkeys(names, "gated")
            episode(*pair, names)
            pair.reverse()
        lines = []
        for life in pair:
            life.do("drain")
            life.until("drained")
            refused += fenced(life)  # now: a refusal may come after the heartbeat that has told of it
            life.do("stop")
            life.until("stopped")
            lines += life.lines
    asyncio.run(look(place, ledger, judge, lines, wanted))
    ledger.close()
    return refused, tally
