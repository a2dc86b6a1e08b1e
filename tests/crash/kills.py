"""Random kills: one store lives through hundreds of processes, each killed with SIGKILL at a moment of chance.

A moment is "after the k-th line that it printed" (promises and effects, not what is logged), k drawn from a seed; which
transaction that hits is up to the machine. The next process goes on with what it finds, gets more work, and is asked
again for what the one before has not confirmed, as a client would.

Lives here: that, and the clients, who ask. Does not live here: the flows (``flows.py``), the rules (``judge.py``).
"""

import asyncio
import random

from tests.crash.flows import LOAD
from tests.crash.judge import Judge, Tally, look
from tests.crash.ledger import Ledger
from tests.crash.lives import Life

#: Lines that a process may print before it is killed, at most, and executions that it is given.
MOST_LINES, STARTS = 200, 10
#: Above so many unfinished executions a process gets little new work: it has enough.
BACKLOG = 40


class Clients:
    """Those who ask for executions: they ask again until somebody has said that it is started."""

    def __init__(self, rng, flows=LOAD):
        self.rng = rng
        self.flows = flows
        self.wanted = {}
        self.confirmed = set()

    def ask(self, count):
        """``count`` new executions, and those that nobody has confirmed."""
        for _ in range(count):
            self.wanted[f"e{len(self.wanted)}"] = self.rng.choice(self.flows)
        return [[id_, flow] for id_, flow in self.wanted.items() if id_ not in self.confirmed]

    def hear(self, lines):
        self.confirmed |= {line.split()[1] for line in lines if line.startswith(("started ", "ended "))}


def one_life(life, starts, most):
    """Give it work and kill it after ``most`` lines, or when it has nothing to do any more."""
    life.begin()
    life.do("start", starts=starts)
    life.do("drain")
    heard = 0
    while heard < most and (line := life.line()) not in (None, "drained"):
        heard += not line.startswith("log ")
    assert life.process.poll() is None, life.errors()
    life.kill()
    return life.lines


def random_kills(place, kills, seed, say=lambda text: None):
    """Kill ``kills`` processes on one place, then let one finish. Returns the tally."""
    rng, tally = random.Random(seed), Tally()
    ledger = Ledger(place.folder / "ledger")
    judge, clients = Judge(tally), Clients(rng)
    life, following = Life(place, "life-0"), None
    try:
        for number in range(kills):
            backlog = len(judge.outcomes.keys() - judge.over.keys())
            starts = clients.ask(STARTS if backlog < BACKLOG else 1)
            following = Life(place, f"life-{number + 1}")  # it gets ready meanwhile
            most = rng.randrange(3) if rng.random() < 0.1 else rng.randrange(3, MOST_LINES)
            lines = one_life(life, starts, most)
            clients.hear(lines)
            life.end()
            life = following
            # All pages only now and then: that takes the longer the more there is.
            asyncio.run(look(place, ledger, judge, lines, check=number % 10 == 0))
            if number % 50 == 49:
                say(f"{number + 1} of {kills} kills, {len(clients.wanted)} executions")
        life.begin()
        life.do("start", starts=clients.ask(0))
        life.do("drain")
        life.do("stop")
        life.until("stopped")
        asyncio.run(look(place, ledger, judge, life.lines, clients.wanted))
    finally:
        for one in {life, following} - {None}:
            one.end()
        ledger.close()
    return tally
