"""The gate in front of a dead target, in virtual time: one attempt at a time, with backoff, for all who wait."""

import asyncio

import pytest

from flow_core.errors import TargetRefused, Unavailable
from flow_core.rpc.gate import Gate
from tests.aio import run_virtual


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


def test_it_is_open_until_somebody_fails():
    async def main():
        probe = Probe()
        gate = Gate("shop", probe)
        assert not gate.shut
        await gate.enter()
        return probe.times

    assert run_virtual(main()) == []


@pytest.mark.parametrize("error", [OSError("refused"), TimeoutError(), TargetRefused("moved")])
def test_delays_double_up_to_five_seconds(error):
    async def main():
        probe = Probe(error)
        gate = Gate("shop", probe, draw=lambda: 1.0)
        gate.failed()
        waits = []
        for _ in range(9):
            with pytest.raises(Unavailable, match="shop could not be reached") as caught:
                await gate.enter()
            waits.append(round(caught.value.retry_after, 6))
            await asyncio.sleep(caught.value.retry_after)
        return waits, len(probe.times)

    assert run_virtual(main()) == ([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0], 8)


def test_the_delay_is_drawn_from_its_upper_half():
    async def main(draw):
        gate = Gate("shop", Probe(), draw=lambda: draw)
        gate.failed()
        with pytest.raises(Unavailable) as caught:
            await gate.enter()
        return round(caught.value.retry_after, 6)

    assert [run_virtual(main(draw)) for draw in (0.0, 0.5, 1.0)] == [0.05, 0.075, 0.1]


def test_while_it_is_shut_nobody_connects():
    async def main():
        probe = Probe()
        gate = Gate("shop", probe)
        for _ in range(50):
            gate.failed()  # calls that failed together
        for _ in range(1000):
            with pytest.raises(Unavailable, match="1 times"):
                await gate.enter()
        return probe.times

    assert run_virtual(main()) == []


@pytest.mark.parametrize("down", [True, False])
def test_all_who_come_share_one_attempt(down):
    async def main():
        probe = Probe(lasts=1.0)
        gate = Gate("shop", probe)
        gate.failed()
        await asyncio.sleep(0.1)
        probe.down = down
        waiting = [asyncio.create_task(gate.enter()) for _ in range(100)]
        await asyncio.sleep(0.5)
        waiting[0].cancel()  # who made the attempt may go
        results = await asyncio.gather(*waiting, return_exceptions=True)
        return len(probe.times), {type(result) for result in results[1:]}, gate.shut

    assert run_virtual(main()) == (1, {Unavailable} if down else {type(None)}, down)


def test_after_it_opened_delays_are_short_again():
    async def main():
        probe = Probe()
        gate = Gate("shop", probe, draw=lambda: 1.0)
        for _ in range(4):
            gate.failed()
            await asyncio.sleep(10)
        probe.down = False
        await gate.enter()
        gate.failed()
        with pytest.raises(Unavailable) as caught:
            await gate.enter()
        return round(caught.value.retry_after, 6)

    assert run_virtual(main()) == 0.1


def test_closing_ends_the_attempt():
    async def main():
        gate = Gate("shop", Probe(lasts=1e9))
        gate.failed()
        await asyncio.sleep(0.1)
        waiting = asyncio.create_task(gate.enter())
        await asyncio.sleep(0)
        await gate.close()
        with pytest.raises(Unavailable):
            await waiting
        return len(asyncio.all_tasks())

    assert run_virtual(main()) == 1
