"""Restarting an execution: as a whole, or at a step with what was recorded before it."""

from __future__ import annotations

from typing import Any

import pytest

from flow_core import REQUEST, Execution, Flow, Status, Step, StepContext
from flow_core.errors import ExecutionTimeout, IllegalMove, MissingInput, UnknownStep
from tests.aio import run_virtual
from tests.runtime.kit import Gate, echo


async def started(flow: Flow, *steps: Step, request: Any = 1, **options: Any) -> Execution:
    await flow.create_steps("f", steps)
    return await flow.execute("f", request, async_=True, **options)


async def boom(value: Any) -> Any:
    raise OSError("boom")


def test_restart_runs_the_same_request_again_on_the_same_revision() -> None:
    async def main() -> None:
        async with Flow() as flow:
            calls: list[Any] = []

            async def flaky(value: Any) -> Any:
                calls.append(value)
                if len(calls) == 1:
                    raise OSError
                return value

            first = await started(flow, Step("a", flaky), request="req", id="mine")
            assert await first.wait() is Status.FAILURE
            await flow.create_step("f", Step("later", echo, after="a"))
            again = await flow.executor.restart("f", "mine")
            assert again is not first and again.id != "mine"
            assert await again == "req" and calls == ["req", "req"]
            assert again.revision == first.revision == 1
            assert first.status is Status.FAILURE  # what happened stays as it was

    run_virtual(main())


def test_restart_at_a_step_reuses_what_does_not_come_after_it() -> None:
    async def main() -> None:
        async with Flow() as flow:
            calls: list[str] = []
            broken = True

            def body(name: str) -> Any:
                async def run(value: Any) -> str:
                    calls.append(name)
                    if name == "c" and broken:
                        raise OSError
                    return name

                return run

            steps = [
                Step("a", body("a")),
                Step("b", body("b"), after="a"),
                Step("c", body("c"), after="b"),
                Step("d", body("d"), after="c"),
            ]
            first = await started(flow, *steps)
            await first.wait()
            broken = False
            again = await flow.executor.restart("f", first.id, step="c")
            await again
            assert calls == ["a", "b", "c", "c", "d"]
            assert again.result("a") == b'"a"' and again.step_status_of("a") is Status.SUCCESS
            with pytest.raises(UnknownStep):
                await flow.executor.restart("f", first.id, step="zzz")
            with pytest.raises(MissingInput, match="'c'"):
                await flow.executor.restart("f", first.id, step="d")

    run_virtual(main())


@pytest.mark.parametrize("step", [None, "b"])
def test_a_restarted_execution_keeps_its_options(step: str | None) -> None:
    async def main() -> None:
        async with Flow() as flow:
            gate = Gate()
            seen: list[Any] = []

            async def look(ctx: StepContext, value: Any) -> Any:
                seen.append((ctx.options["tenant"], ctx.time_left()))
                await gate.event.wait()

            handle = await started(
                flow, Step("a", echo), Step("b", look, after="a"), timeout=7, context={"tenant": "t"}
            )
            with pytest.raises(ExecutionTimeout):
                await handle
            again = await flow.executor.restart("f", handle.id, step)
            with pytest.raises(ExecutionTimeout):
                await again
            assert seen == [("t", 7), ("t", 7)]

    run_virtual(main())


def test_requests_named_in_inputs_survive_a_restart() -> None:
    async def main() -> None:
        async with Flow() as flow:
            both = {"req": REQUEST, "a": "a"}
            handle = await started(flow, Step("a", echo), Step("b", echo, after="a", input=both), request=9)
            await handle
            again = await flow.executor.restart("f", handle.id, step="b")
            assert await again == {"req": 9, "a": 9}

    run_virtual(main())


@pytest.mark.parametrize("step", [None, "a", "b"])
def test_what_is_not_over_is_not_restarted(step: str | None) -> None:
    async def main() -> None:
        async with Flow() as flow:
            gate = Gate()
            handle = await started(flow, Step("a", gate), Step("b", echo, after="a"))
            with pytest.raises(IllegalMove, match="RUNNING"):
                await flow.executor.restart("f", handle.id, step)
            await handle.pause()
            with pytest.raises(IllegalMove, match="PAUSED"):
                await flow.executor.restart("f", handle.id, step)
            assert flow.executor.statistics().executions_started == 1
            await handle.resume()
            gate.open()
            await handle
            assert await (await flow.executor.restart("f", handle.id, step)) == 1

    run_virtual(main())
