"""A shop of separate processes, started by one command: a flow server, three services, five orders.

    python examples/checkout/main.py [--store sqlite:///shop.db]

Lives here: the story. Does not live here: any step of it; each service registers its own.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from typing import Any

from processes import Processes, ProcessFailed, free_port, processes
from service import FLOW, say

from flow_core import connect
from flow_core.client.remote_execution import RemoteExecution
from flow_core.client.remote_flow import RemoteFlow
from flow_core.errors import StepFailed

ORDER = {"goods": {"teapot": 1, "cup": 4}, "total": 80, "card": "good", "mail": "ann@example.org"}


class Orders:
    """Orders that come in, and how they end."""

    def __init__(self, flow: RemoteFlow) -> None:
        self.flow = flow
        self.day = time.strftime("%H%M%S")  # of the ids: each run of the example makes executions of its own

    async def begin(self, number: int, **changes: Any) -> RemoteExecution:
        """Start the execution of an order; if a step is still missing, as soon as somebody registers it."""
        order = ORDER | {"number": number} | changes
        return await self.flow.execute(FLOW, order, id=f"{self.day}.{number}", async_=True, unresolved="wait")

    async def end(self, execution: RemoteExecution) -> None:
        """Wait for its end and show what the server has recorded."""
        try:
            say("shop", f"result: {(await execution).decode()}")
        except StepFailed as error:
            say("shop", f"failed: {error}")
        start, *moves, last = await self.flow.executor.history(FLOW, execution.id)
        for move in moves:
            since = (move.time - start.time).total_seconds()
            say("shop", f"  {since:5.2f} s  {move.step}, attempt {move.attempt}: {move.status.name}")
        took = (last.time - start.time).total_seconds()
        say("shop", f"  {took:5.2f} s  order {execution.id}: {last.status.name}\n")

    async def explain_retry(self, execution: RemoteExecution) -> None:
        """Ask what it waits for, until that is a retry."""
        kinds: set[str] = set()
        while kinds.isdisjoint({"retry", "over"}):
            explained = await self.flow.executor.explain(FLOW, execution.id)
            kinds = {reason.kind for reason in explained.reasons}
        for line in str(explained).splitlines():
            say("explain", line)


async def story(flow: RemoteFlow, children: Processes, inventory: tuple[str, ...]) -> None:
    """Five orders. Only `inventory` is not there yet."""
    orders = Orders(flow)
    missing = "; ".join(f"{step}, named by {', '.join(by)}" for step, by in (await flow.unresolved(FLOW)).items())
    say("shop", f"1. All is well. The order comes before the inventory does; missing: {missing or 'nothing'}")
    beginning = asyncio.create_task(orders.begin(1))
    await children.python(*inventory)
    await orders.end(await beginning)

    say("shop", "2. The bank restarts: the charge is tried again when the bank said so.")
    execution = await orders.begin(2, card="bank-restarts")
    await orders.explain_retry(execution)
    await orders.end(execution)

    say("shop", "3. The bank is down, and stays down: after the last attempt the fallback writes an invoice.")
    await orders.end(await orders.begin(3, card="bank-down"))

    say("shop", "4. No more invoices: the step is replaced while everything runs. A card is refused: rolled back.")
    charge = next(step for step in await flow.lookup(FLOW) if step.id == "charge")
    await flow.replace_step(FLOW, charge, charge.replace(fallback=None))
    await orders.end(await orders.begin(4, card="empty"))
    await flow.replace_step(FLOW, "charge", charge)

    say("shop", "5. Nobody can be told: the charge and the reservation are undone, the last one first.")
    await orders.end(await orders.begin(5, mail="ann"))


async def main(store: str) -> None:
    """Start the processes, tell the story, end the processes."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    ports = {name: free_port() for name in ("server", "inventory", "payment", "nats")}
    server, nats = f"127.0.0.1:{ports['server']}", f"nats://127.0.0.1:{ports['nats']}"
    places = [
        f"--service=inventory=grpc://127.0.0.1:{ports['inventory']}/shop.v1.Inventory",
        f"--service=payment=http://127.0.0.1:{ports['payment']}",
        f"--service=mail={nats}",
    ]
    async with processes() as children:
        await children.nats(ports["nats"])
        await children.python("flow_server.py", server, "--store", store, *places)
        await children.python("mail.py", f"grpc://{server}", nats)
        await children.python("payment.py", f"grpc://{server}", str(ports["payment"]))
        async with connect(f"grpc://{server}") as flow:
            await story(flow, children, ("inventory.py", f"grpc://{server}", str(ports["inventory"])))
    say("shop", "all processes have ended")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A shop of separate processes.")
    parser.add_argument("--store", help="of the flow server; default: a file that is deleted in the end")
    asked = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            # Not `flow_core.run`: uvloop starts children by a plain fork, of which gRPC complains.
            asyncio.run(main(asked.store or f"sqlite:///{folder}/shop.db"))
    except ExceptionGroup as failed:
        if failed.split(ProcessFailed)[1]:
            raise
        sys.exit("\n".join(str(error) for error in failed.exceptions))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)
