"""The flow server: keeps flows and executions, and calls services where their URLs say. It has no step of its own.

Run as ``python flow_server.py HOST:PORT --store URL --service NAME=URL ...``.
"""

import argparse

from service import ready, say, stop_signal

from flow_core import Flow, run
from flow_core.rpc import Clients
from flow_core.service.server import FlowServer
from flow_core.service.workers.router import WorkerRouter


async def main(address: str, store: str, services: dict[str, str]) -> None:
    stop = stop_signal()
    rpc = WorkerRouter(Clients(services))
    async with Flow(store=store, rpc=rpc) as flow, FlowServer(flow, address=address) as server:
        say("server", f"listens at {server.url}, its store is {store}")
        ready()
        await stop.wait()
        await server.drain(10)  # refuse new orders, let those under way end; what does not, goes on at the next start
    say("server", "ends")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The flow server of the shop.")
    parser.add_argument("address")
    parser.add_argument("--store", required=True)
    parser.add_argument("--service", action="append", default=[], metavar="NAME=URL")
    asked = parser.parse_args()
    run(main(asked.address, asked.store, dict(service.split("=", 1) for service in asked.service)))
