"""Fan-out and fan-in: a hundred pages, at most eight at a time, one summary. A failed page does not fail the whole."""

import asyncio

from flow_core import Executor, Flow, Step, StepContext, run

running = most = 0


async def fetch(ctx: StepContext, site: str) -> int:
    global running, most  # noqa: PLW0603 - to show the limit at work
    running += 1
    most = max(most, running)
    await asyncio.sleep(0.001)
    running -= 1
    if ctx.step == "page-13":
        raise OSError("page 13 is torn")
    return len(site) + len(ctx.step)


def summary(pages: dict[str, int]) -> str:  # a plain function: runs in the worker pool
    return f"{len(pages)} pages, {sum(pages.values())} characters"


async def main() -> None:
    async with Flow(executor=Executor(workers=2)) as flow:
        pages = [Step(f"page-{number}", fetch, allow_fail=True) for number in range(100)]
        await flow.create_steps("crawl", [*pages, Step("summary", summary, after=pages)])
        execution = await flow.execute("crawl", "example.org", concurrency=8)
        print(execution.response)
        print(f"at most {most} at a time; failed: {list(execution.errors)}")


if __name__ == "__main__":
    run(main())
