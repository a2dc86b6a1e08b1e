"""Services register their own steps in any order, while executions wait and run. Nobody knows the others' code."""

import asyncio

from flow_core import Flow, Step, run


async def report_service(flow: Flow) -> None:
    """Comes first; its step follows two that nobody has registered yet."""
    await flow.create_step("day", Step("report", sorted, after=["orders", "stock"]))


async def main() -> None:
    async with Flow() as flow:
        await report_service(flow)
        print("missing:", await flow.unresolved("day"))
        waiting = asyncio.create_task(flow.call("day", 20, unresolved="wait"))
        await flow.create_step("day", Step("orders", lambda day: day * 2))
        await flow.create_step("day", Step("stock", lambda day: day * 3))
        print("report:", await waiting)

        running = await flow.execute("day", 1, async_=True)
        await flow.create_step("day", Step("audit", lambda names: f"audited {names}", after="report"))
        print("pinned:", await running, "at revision", running.revision)
        print("new:", await flow.call("day", 1), "at revision", await flow.revision("day"))


if __name__ == "__main__":
    run(main())
