"""The circuit breaker in front of a dead target, in virtual time: one attempt for all who wait, with backoff."""

import asyncio

import pytest

from flow_core.errors import TargetRefused, Unavailable
from flow_core.model.backoff import Backoff
from flow_core.net.connection import CircuitBreaker
from tests.aio import run_virtual

BACKOFF = Backoff(0.1, 5.0)


class Probe:
    """Fails as long as ``down``; ``times`` are when it was asked."""

    def __init__(self, error=None, lasts=0.0):
        self.down = True
        self.times = []
        self.error = error or OSError("refused")
        self.lasts = lasts

    async def __call__(self):
        self.times.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.lasts)
        if self.down:
            raise self.error


def test_callers_pass_until_somebody_fails():
    async def main():
        probe = Probe()
        breaker = CircuitBreaker("shop", probe, backoff=BACKOFF)
        assert not breaker.tripped
        await breaker.enter()
        return probe.times

    assert run_virtual(main()) == []


@pytest.mark.parametrize("error", [OSError("refused"), TimeoutError(), TargetRefused("moved")])
def test_delays_double_up_to_five_seconds(error):
    async def main():
        probe = Probe(error)
        breaker = CircuitBreaker("shop", probe, backoff=BACKOFF, chance=lambda: 1.0)
        breaker.failed(OSError("refused"))
        waits = []
        for _ in range(9):
            with pytest.raises(Unavailable, match="no connection to shop") as caught:
                await breaker.enter()
            waits.append(round(caught.value.retry_after, 6))
            await asyncio.sleep(caught.value.retry_after)
        return waits, len(probe.times)

    assert run_virtual(main()) == ([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0], 8)


def test_the_delay_is_drawn_from_its_upper_half():
    async def main(draw):
        breaker = CircuitBreaker("shop", Probe(), backoff=BACKOFF, chance=lambda: draw)
        breaker.failed(OSError("refused"))
        with pytest.raises(Unavailable) as caught:
            await breaker.enter()
        return round(caught.value.retry_after, 6)

    assert [run_virtual(main(draw)) for draw in (0.0, 0.5, 1.0)] == [0.05, 0.075, 0.1]


def test_while_it_is_tripped_nobody_connects():
    async def main():
        probe = Probe()
        breaker = CircuitBreaker("shop", probe, backoff=BACKOFF)
        for _ in range(50):
            breaker.failed(OSError("refused"))  # calls that failed together
        for _ in range(1000):
            with pytest.raises(Unavailable, match="no connection to shop"):
                await breaker.enter()
        return probe.times, breaker.failures

    assert run_virtual(main()) == ([], 1)


@pytest.mark.parametrize("down", [True, False])
def test_all_who_come_share_one_attempt(down):
    async def main():
        probe = Probe(lasts=1.0)
        breaker = CircuitBreaker("shop", probe, backoff=BACKOFF)
        breaker.failed(OSError("refused"))
        await asyncio.sleep(0.1)
        probe.down = down
        waiting = [asyncio.create_task(breaker.enter()) for _ in range(100)]
        await asyncio.sleep(0.5)
        waiting[0].cancel()  # who made the attempt may go
        results = await asyncio.gather(*waiting, return_exceptions=True)
        return len(probe.times), {type(result) for result in results[1:]}, breaker.tripped

    assert run_virtual(main()) == (1, {Unavailable} if down else {type(None)}, down)


def test_after_it_let_pass_delays_are_short_again():
    async def main():
        probe = Probe()
        breaker = CircuitBreaker("shop", probe, backoff=BACKOFF, chance=lambda: 1.0)
        for _ in range(4):
            breaker.failed(OSError("refused"))
            await asyncio.sleep(10)
        probe.down = False
        await breaker.enter()
        breaker.failed(OSError("refused"))
        with pytest.raises(Unavailable) as caught:
            await breaker.enter()
        return round(caught.value.retry_after, 6)

    assert run_virtual(main()) == 0.1


def test_closing_ends_the_attempt():
    async def main():
        breaker = CircuitBreaker("shop", Probe(lasts=1e9), backoff=BACKOFF)
        breaker.failed(OSError("refused"))
        await asyncio.sleep(0.1)
        waiting = asyncio.create_task(breaker.enter())
        await asyncio.sleep(0)
        await breaker.close()
        with pytest.raises(Unavailable):
            await waiting
        return len(asyncio.all_tasks())

    assert run_virtual(main()) == 1
