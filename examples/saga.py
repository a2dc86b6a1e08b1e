"""A saga: three bookings, the last one fails for good, so the others are undone in reverse order."""

from typing import Any

from flow_core import Flow, Permanent, Retry, Step, StepContext, run
from flow_core.errors import StepFailed


async def book(ctx: StepContext, trip: Any) -> dict[str, str]:
    print(f"{ctx.step}: attempt {ctx.attempt}")
    if ctx.step == "car" and ctx.attempt == 1:
        raise ConnectionError("the line is busy")  # retried
    if ctx.step == "car":
        raise Permanent("no cars left")  # never retried, whatever retry= says
    return {"booking": f"{ctx.step}-1"}


async def cancel(ctx: StepContext, booked: dict[str, str]) -> None:
    print(f"{ctx.step}: cancelled {booked['booking']}")  # gets what `book` returned; its input is ctx.input


async def main() -> None:
    async with Flow() as flow:
        await flow.create_steps(
            "trip",
            [
                Step("flight", book, compensation=cancel),
                Step("hotel", book, after="flight", compensation=cancel),
                Step("car", book, after="hotel", compensation=cancel, retry=Retry(5, initial=0.01)),
            ],
        )
        try:
            await flow.execute("trip", {"to": "Oslo"})
        except StepFailed as error:
            print(error)
            print({step.id: error.execution.step_status_of(step.id).name for step in await flow.lookup("trip")})


if __name__ == "__main__":
    run(main())
