"""One suite, put through a Flow in the process and through a RemoteFlow: the same calls, results and errors."""

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC

import pytest

from flow_core import ALL, ClientCallOperation, Fallback, Flow, Retry, Status, Step, errors
from flow_core.rpc import MemoryRpcClient
from tests import aio
from tests.service import loopback
from tests.service.loopback import serving


async def waits(value):
    await asyncio.Event().wait()


def fails(value):
    raise ValueError("no stock")


FUNCTIONS = {
    "double": lambda value: value * 2,
    "length": len,
    "same": lambda value: value,
    "none": lambda value: None,
    "fails": fails,
    "waits": waits,
}


def local(name, **options):
    return loopback.local(name, FUNCTIONS[name], **options)


@asynccontextmanager
async def here():
    async with Flow(rpc=MemoryRpcClient()) as flow:
        yield flow, flow


@asynccontextmanager
async def remote():
    async with serving() as (server, client):
        yield client, server.flow


@pytest.fixture(params=[here, remote])
def play(request):
    """Runs a scenario with a flow that is here, or elsewhere; its functions are bound where it is."""

    def play(scenario):
        async def main():
            async with request.param() as (flow, home):
                for name, function in FUNCTIONS.items():
                    home.bind(name, function)
                await scenario(flow)

        aio.run(main())

    return play


def test_register_look_up_and_execute(play):
    async def scenario(flow):
        assert await flow.create_step("f", local("double")) == 1
        assert await flow.create_steps("f", [local("same", after="double")]) == 2
        assert [step.id for step in await flow.lookup("f")] == ["double", "same"]
        assert await flow.flows() == ["f"] and await flow.revision("f") == 2
        execution = await flow.execute("f", 21)
        assert execution.status is Status.SUCCESS and execution.response == 42 and execution.over
        assert await flow.executor.result("f", execution.id, "double") == b"42"
        assert await flow.call("f", "ab") == "abab"

    play(scenario)


@pytest.mark.parametrize("value", [b"", b"\x00\xff", "text", 7, 1.5, None, True, [1, {"a": None}], {"k": [2]}])
def test_values_come_back(play, value):
    async def scenario(flow):
        await flow.create_step("f", local("same"))
        assert await flow.call("f", value) == value

    play(scenario)


def test_every_part_of_a_step_is_looked_up_as_it_was_given(play):
    async def scenario(flow):
        steps = [
            local("same", step="a", retry=Retry(2, initial=0.5, retry_on=KeyError), timeout=3.0, total_timeout=9.0),
            Step(
                "b", ClientCallOperation("s", "e"), after=["a"], input={"x": "a", "y": "$request"}, output="o",
                fallback=Fallback(ClientCallOperation("s", "f"), "fail"), compensation=ClientCallOperation("s", "c"),
                allow_fail=True, when="p", join="done", delivery="at_most_once",
            ),
            local("same", step="c", after=ALL, manual=True),
        ]  # fmt: skip
        await flow.create_steps("f", steps)
        assert await flow.lookup("f") == steps

    play(scenario)


def test_replace_and_delete(play):
    async def scenario(flow):
        await flow.create_step("f", local("double", step="s"))
        assert await flow.replace_step("f", "s", local("length", step="s")) == 2
        assert await flow.call("f", "abc") == 3
        assert await flow.delete_step("f", "s") == 3
        assert await flow.lookup("f") == []

    play(scenario)


def test_compare_and_set(play):
    async def scenario(flow):
        await flow.create_step("f", local("same"), revision=0)
        with pytest.raises(errors.RevisionConflict) as refused:
            await flow.create_step("f", local("double"), revision=0)
        assert (refused.value.expected, refused.value.actual, refused.value.flow) == (0, 1, "f")
        with pytest.raises(errors.RevisionConflict):
            await flow.delete_step("f", "same", revision=7)
        with pytest.raises(errors.RevisionConflict):
            await flow.replace_step("f", "same", local("double"), revision=7)
        assert await flow.revision("f") == 1

    play(scenario)


REFUSALS = [
    (lambda flow: flow.create_step("no flow", local("same")), errors.InvalidId),
    (lambda flow: flow.create_step("f", local("same", after="f", before="f", step="g")), errors.CycleError),
    (lambda flow: flow.create_steps("f", [local("same", step="x"), local("same", step="x")]), errors.DuplicateStep),
    (lambda flow: flow.create_step("f", local("double", step="f")), errors.DuplicateStep),
    (lambda flow: flow.delete_step("f", "nobody"), errors.UnknownStep),
    (lambda flow: flow.delete_step("nowhere", "f"), errors.UnknownFlow),
    (lambda flow: flow.replace_step("f", "nobody", local("same")), errors.UnknownStep),
    (lambda flow: flow.lookup("nowhere"), errors.UnknownFlow),
    (lambda flow: flow.unresolved("nowhere"), errors.UnknownFlow),
    (lambda flow: flow.execute("nowhere"), errors.UnknownFlow),
    (lambda flow: flow.execute("f", step="nobody"), errors.UnknownStep),
    (lambda flow: flow.execute("f", id="no id"), errors.InvalidId),
    (lambda flow: flow.execute("f", timeout=-1.0), errors.InvalidOption),
    (lambda flow: flow.execute("f", timeout=float("nan")), errors.InvalidOption),
    (lambda flow: flow.execute("f", priority=9), errors.InvalidOption),
    (lambda flow: flow.execute("f", concurrency=0), errors.InvalidOption),
    (lambda flow: flow.executor.status("f", "unknown"), errors.UnknownExecution),
    (lambda flow: flow.executor.result("f", "unknown", "f"), errors.UnknownExecution),
    (lambda flow: flow.executor.wait("f", "unknown"), errors.UnknownExecution),
    (lambda flow: flow.executor.pause("f", "unknown"), errors.UnknownExecution),
    (lambda flow: flow.executor.resume("f", "unknown"), errors.UnknownExecution),
    (lambda flow: flow.executor.abort("f", "unknown"), errors.UnknownExecution),
    (lambda flow: flow.executor.restart("f", "unknown"), errors.UnknownExecution),
    (lambda flow: flow.executor.history("f", "unknown"), errors.UnknownExecution),
    (lambda flow: flow.executor.explain("f", "unknown"), errors.UnknownExecution),
    (lambda flow: flow.executor.list(limit=-1), errors.InvalidOption),
]


@pytest.mark.parametrize(("refused", "kind"), REFUSALS)
def test_refusals(play, refused, kind):
    async def scenario(flow):
        await flow.create_step("f", local("same", step="f"))
        with pytest.raises(kind) as error:
            await refused(flow)
        assert type(error.value) is kind and error.value.message
        assert await flow.revision("f") == 1

    play(scenario)


def test_fields_of_errors_are_the_same(play):
    async def scenario(flow):
        await flow.create_step("f", local("same", step="late", after="early"))
        assert await flow.unresolved("f") == {"early": ["late"]}
        with pytest.raises(errors.UnresolvedSteps) as missing:
            await flow.execute("f")
        assert missing.value.missing == {"early": ["late"]} and "unresolved=" in missing.value.fix
        with pytest.raises(errors.CycleError) as circle:
            await flow.create_step("f", local("same", step="early", after="late"))
        assert set(circle.value.path) == {"early", "late"} and circle.value.path[0] == circle.value.path[-1]

    play(scenario)


def test_a_step_that_fails(play):
    async def scenario(flow):
        await flow.create_step("f", local("fails"))
        with pytest.raises(errors.StepFailed) as failed:
            await flow.execute("f", id="x")
        assert failed.value.step == "fails" and failed.value.execution.id == "x" and failed.value.flow == "f"
        assert "no stock" in str(failed.value.__cause__)
        assert failed.value.execution.status is Status.FAILURE
        execution = await flow.execute("f", async_=True)
        with pytest.raises(errors.StepFailed):
            await execution
        assert await flow.executor.status("f", execution.id) is Status.FAILURE

    play(scenario)


def test_the_same_id_is_the_same_execution(play):
    async def scenario(flow):
        await flow.create_step("f", local("same"))
        first = await flow.execute("f", b"1", id="mine")
        again = await flow.execute("f", b"1", id="mine")
        assert first.id == again.id == "mine" and again.response == b"1"
        with pytest.raises(errors.ExecutionConflict):
            await flow.execute("f", b"2", id="mine")

    play(scenario)


def test_a_start_in_the_middle_with_inputs(play):
    async def scenario(flow):
        await flow.create_steps("f", [local("none"), local("length", after="none", input="none")])
        with pytest.raises(errors.MissingInput):
            await flow.execute("f", step="length")
        assert await flow.call("f", step="length", inputs={"none": b"abc"}, output="length") == 3

    play(scenario)


def test_control_by_id(play):
    async def scenario(flow):
        await flow.create_steps("f", [local("waits"), local("same", after="waits")])
        execution = await flow.execute("f", b"", id="e", async_=True, timeout=600)
        asking = flow.executor
        assert await asking.status("f", "e") is Status.RUNNING and not execution.over
        await asking.pause("f", "e")
        assert await asking.status("f", "e") is Status.PAUSED
        kinds = {reason.kind for reason in (await asking.explain("f", "e")).reasons}
        assert {"paused", "running", "timeout", "predecessor"} <= kinds
        await asking.resume("f", "e")
        with pytest.raises(errors.IllegalMove):
            await asking.result("f", "e", "same")
        await execution.pause()
        await execution.resume()
        await asking.abort("f", "e")
        assert await asking.wait("f", "e") is Status.ABORTED
        with pytest.raises(errors.ExecutionAborted):
            await execution
        with pytest.raises(errors.IllegalMove):
            await asking.pause("f", "e")

    play(scenario)


def test_restart_history_and_list(play):
    async def scenario(flow):
        await flow.create_steps("f", [local("double"), local("same", after="double")])
        first = await flow.execute("f", 3)
        again = await flow.executor.restart("f", first.id)
        assert await again == 6 and again.id != first.id
        part = await flow.executor.restart("f", first.id, "same")
        assert await part == 6
        moves = await flow.executor.history("f", first.id)
        assert [(move.step, move.status) for move in moves if move.step] == [
            ("double", Status.RUNNING), ("double", Status.SUCCESS), ("same", Status.RUNNING), ("same", Status.SUCCESS),
        ]  # fmt: skip
        assert [move async for move in first] == moves  # and so at the same times
        assert all(move.time.tzinfo is UTC and move.time.year > 2000 for move in moves)
        page = await flow.executor.list("f", limit=2)
        assert [info.execution for info in page.items] == [part.id, again.id] and page.cursor
        rest = await flow.executor.list("f", limit=2, cursor=page.cursor)
        assert [info.execution for info in rest.items] == [first.id] and rest.cursor is None
        assert (await flow.executor.list("f", Status.FAILURE)).items == []
        assert {info.status for info in (await flow.executor.list(None, Status.SUCCESS)).items} == {Status.SUCCESS}

    play(scenario)


def test_waiting_for_steps_that_come_later(play):
    async def scenario(flow):
        await flow.create_step("f", local("same", after="double"))
        task = asyncio.ensure_future(flow.call("f", 4, unresolved="wait"))
        await asyncio.sleep(0)
        await flow.create_step("f", local("double"))
        assert await task == 8

    play(scenario)


def test_an_adapter_error_keeps_its_kind(play):
    async def scenario(flow):
        await flow.create_step("f", Step("s", ClientCallOperation("nobody", "e")))
        with pytest.raises(errors.StepFailed) as failed:
            await flow.execute("f")
        assert isinstance(failed.value.__cause__, errors.Unavailable)

    play(scenario)
