"""What becomes of steps under way when their loop shuts down without anybody having stopped the executor."""

import asyncio
import gc
import warnings

import pytest

from flow_core import Flow, Status, Step, run
from flow_core.errors import ExecutionStopped


@pytest.mark.parametrize("runner", [asyncio.run, run])
def test_run_ends_steps_under_way_and_lets_them_clean_up(runner):
    cleaned, handles = [], []

    async def forever():
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append("a")

    async def main():
        flow = Flow()
        await flow.create_steps("f", [Step("a", forever), Step("b", lambda: None, after="a")])
        handles.append(await flow.execute("f", async_=True))

    runner(main())
    assert cleaned == ["a"]
    assert handles[0].status is Status.STOPPED and isinstance(handles[0].error, ExecutionStopped)


def test_a_flow_goes_on_in_the_next_loop():
    flow = Flow()
    gates = []

    async def wait():
        gates.append(asyncio.Event())
        if len(gates) == 1:
            await gates[0].wait()
        return "done"

    async def main():
        if not await flow.flows():
            await flow.create_step("f", Step("a", wait))
            return await flow.execute("f", async_=True)
        return await flow.execute("f")

    assert asyncio.run(main()).status is Status.STOPPED
    assert asyncio.run(main()).response == "done"


def test_a_loop_closed_by_hand_is_no_reason_for_a_warning():
    async def main():
        async def instant():
            return 1

        flow = Flow()
        await flow.create_step("f", Step("a", instant))
        return await flow.call("f")

    loop = asyncio.new_event_loop()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert loop.run_until_complete(main()) == 1
        loop.close()
        gc.collect()


def test_stop_dismisses_the_guard():
    async def main():
        async with Flow() as flow:
            await flow.create_step("f", Step("a", lambda: 1))
            assert await flow.call("f") == 1
            assert len(asyncio.all_tasks()) == 2
        await asyncio.sleep(0)
        return [task.get_name() for task in asyncio.all_tasks() - {asyncio.current_task()}]

    assert asyncio.run(main()) == []
