"""Asking a running execution: pause, explain, resume, abort with rollback, restart."""

import asyncio

from flow_core import Execution, Flow, Status, Step, StepContext, run


async def until(execution: Execution, step: str, status: Status) -> None:
    """Follow an execution until a step has this status. An execution can be iterated over any number of times."""
    async for move in execution:
        if (move.step, move.status) == (step, status):
            return


async def main() -> None:
    gates = {name: asyncio.Event() for name in ("first", "second", "third")}

    async def wait(ctx: StepContext, value: int) -> int:
        await gates[ctx.step].wait()
        return value + 1

    async def undo(value: int) -> None:
        print("undone:", value)

    async with Flow() as flow:
        first = Step("first", wait, compensation=undo)
        await flow.create_steps("f", [first, Step("second", wait, after=first), Step("third", wait, after="second")])

        execution = await flow.execute("f", 1, async_=True)
        await execution.pause()  # from here on nothing starts; what runs, ends
        gates["first"].set()
        await until(execution, "first", Status.SUCCESS)
        print(await flow.executor.explain("f", execution.id))
        await execution.resume()
        await until(execution, "second", Status.RUNNING)
        await execution.abort(rollback=True)
        print("status:", execution.status.name)

        for gate in gates.values():
            gate.set()
        again = await flow.executor.restart("f", execution.id)  # the same request, a new execution
        print("result:", await again)


if __name__ == "__main__":
    run(main())
