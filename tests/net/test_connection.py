"""The one shared connection: when it is made, who waits for it, and what those are told who come in between."""

import asyncio
import logging

import pytest

from flow_core.errors import AuthError, Unavailable
from flow_core.model.backoff import Backoff
from flow_core.net.connection import Connection
from tests.aio import run_virtual


class World:
    """Connections are numbers; each attempt takes ``takes`` seconds and fails while ``broken``."""

    def __init__(self, *, takes=0.0, broken=None):
        self.takes = takes
        self.broken = broken
        self.attempts = []
        self.closed = []
        self.shared = Connection("nats://h", self.connect, self.disconnect, timeout=5.0, backoff=Backoff(1.0, 8.0))

    async def connect(self):
        self.attempts.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.takes)
        if self.broken is not None:
            raise self.broken
        return len(self.attempts)

    async def disconnect(self, connection):
        self.closed.append(connection)


def test_nothing_connects_before_it_is_needed_and_all_share_one():
    async def main():
        world = World(takes=1.0)
        await asyncio.sleep(10)
        assert world.attempts == []
        connections = await asyncio.gather(*(world.shared.get() for _ in range(5)))
        await world.shared.close()
        return connections, world.attempts, world.closed

    assert run_virtual(main()) == ([1] * 5, [10.0], [1])


def test_a_caller_who_gives_up_does_not_break_the_attempt_of_others():
    async def main():
        world = World(takes=1.0)
        first = asyncio.create_task(world.shared.get())
        second = asyncio.create_task(world.shared.get())
        await asyncio.sleep(0.5)
        first.cancel()
        return await second, first.cancelled(), len(world.attempts)

    assert run_virtual(main()) == (1, True, 1)


def test_after_a_failure_callers_are_told_when_to_come_back():
    async def main():
        world = World(broken=OSError("refused"))
        with pytest.raises(Unavailable, match="no connection to nats://h: OSError: refused") as caught:
            await world.shared.get()
        assert isinstance(caught.value.__cause__, OSError)
        with pytest.raises(Unavailable) as again:
            await world.shared.get()
        assert len(world.attempts) == 1
        assert 0.5 <= again.value.retry_after <= 1.0
        world.broken = None
        await asyncio.sleep(again.value.retry_after)
        return await world.shared.get()

    assert run_virtual(main()) == 2


def test_delays_double_up_to_the_maximum():
    backoff = Backoff(0.1, 2.0)
    assert [backoff.delay(n, 1.0) for n in (1, 2, 3, 4, 5, 6, 1000)] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert backoff.delay(3, 0.0) == 0.2


def test_an_attempt_that_hangs_ends():
    async def main():
        world = World(takes=1000.0)
        with pytest.raises(Unavailable, match="no answer within 5 s"):
            await world.shared.get()
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == 5.0


def test_other_flow_errors_pass_as_they_are():
    async def main():
        world = World(broken=AuthError("who are you", fix="say so"))
        for _ in range(2):
            with pytest.raises(AuthError, match="who are you\n  fix: say so"):
                await world.shared.get()
        return len(world.attempts)

    assert run_virtual(main()) == 1


def test_a_lost_connection_is_made_anew_at_the_next_need_only():
    async def main():
        world = World()
        assert await world.shared.get() == 1
        await asyncio.sleep(100)
        world.shared.lost(1, "reset")
        world.shared.lost(1, "reset")
        await asyncio.sleep(100)
        assert len(world.attempts) == 1
        assert await world.shared.get() == 2
        world.shared.lost(1, "somebody is late to notice")
        assert world.shared.current == 2
        return world.closed

    assert run_virtual(main()) == [1]


def test_a_kept_connection_reconnects_by_itself_with_backoff(caplog):
    async def main():
        world = World()
        world.shared.keep(True)
        await asyncio.sleep(100)
        assert world.shared.current == 1
        world.broken = OSError("refused")
        world.shared.lost(1, "reset")
        await asyncio.sleep(30)
        gaps = [later - sooner for sooner, later in zip(world.attempts[1:], world.attempts[2:], strict=False)]
        assert all(least <= gap <= 2 * least for least, gap in zip((0.5, 1, 2, 4, 4), gaps, strict=False)), gaps
        world.broken = None
        await asyncio.sleep(8)
        assert world.shared.current == len(world.attempts)
        await world.shared.close()

    with caplog.at_level(logging.INFO, "flow_core.net"):
        run_virtual(main())
    assert [record.message for record in caplog.records] == [
        "connection to nats://h lost: reset",
        "connected to nats://h",
    ]


def test_a_server_that_drops_us_after_the_greeting_is_not_stormed():
    async def main():
        world = World()
        world.shared.keep(True)
        for _ in range(6):
            while world.shared.current is None:
                await asyncio.sleep(0.01)
            world.shared.lost(world.shared.current, "go away")
        return world.attempts

    attempts = run_virtual(main())
    assert attempts[-1] - attempts[0] >= 0.5 + 1 + 2 + 4 + 4 - 0.1


@pytest.mark.parametrize("takes", [0.0, 1000.0])
def test_close_ends_every_wait_and_refuses_new_ones(takes):
    async def main():
        world = World(takes=takes)
        waiting = asyncio.create_task(world.shared.get())
        await asyncio.sleep(0)
        await world.shared.close()
        await world.shared.close()
        with pytest.raises(Unavailable, match="closed"):
            await waiting
        with pytest.raises(Unavailable, match="closed"):
            await world.shared.get()
        world.shared.keep(True)
        await asyncio.sleep(10)
        return world.shared.current, len(asyncio.all_tasks())

    assert run_virtual(main()) == (None, 1)


def test_a_goodbye_that_hangs_is_cut_short():
    async def main():
        world = World()
        await world.shared.get()
        world.disconnect = world.shared._disconnect = lambda connection: asyncio.sleep(1000)
        start = asyncio.get_running_loop().time()
        await world.shared.close()
        return asyncio.get_running_loop().time() - start

    assert run_virtual(main()) == 2.0
