"""The inventory service, over gRPC: reserves goods, and releases them when an order fails.

Run as ``python inventory.py URL-OF-THE-FLOW-SERVER PORT``.
"""

import json
import sys
from typing import Any

import grpc.aio
from service import register, say, stop_signal

from flow_core import ClientCallOperation, Retry, Step, connect, run

RESERVE = Step(
    "reserve",
    ClientCallOperation("inventory", "Reserve"),
    compensation=ClientCallOperation("inventory", "Release"),
    retry=Retry(60, max=1),  # patient: no order is lost while this service is away for a moment
    timeout=5,
)


class Inventory:
    """Two methods of ``shop.v1.Inventory``, whose messages are JSON."""

    def __init__(self) -> None:
        self.stock = {"teapot": 10, "cup": 50}
        #: Idempotency key -> what is reserved under it. A call that comes twice reserves once.
        self.reserved: dict[str, dict[str, int]] = {}

    async def reserve(self, request: bytes, context: Any) -> bytes:
        order, key = json.loads(request), dict(context.invocation_metadata())["flow-idempotency-key"]
        if key not in self.reserved:
            goods = order["goods"]
            if any(self.stock.get(name, 0) < count for name, count in goods.items()):
                await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "sold out")  # a status that is never retried
            self._move(goods, -1)
            self.reserved[key] = goods
            say("inventory", f"order {order['number']}: reserved {goods}, key {key}")
        return json.dumps({"reservation": key}).encode()

    async def release(self, request: bytes, context: Any) -> bytes:
        """The compensation: it gets what `reserve` returned."""
        key = json.loads(request)["reservation"]
        goods = self.reserved.pop(key, {})
        self._move(goods, +1)
        say("inventory", f"released {goods} of {key}")
        return b""

    def _move(self, goods: dict[str, int], sign: int) -> None:
        for name, count in goods.items():
            self.stock[name] += sign * count


async def main(flow_server: str, port: str) -> None:
    stop, inventory = stop_signal(), Inventory()
    methods = {
        "Reserve": grpc.unary_unary_rpc_method_handler(inventory.reserve),
        "Release": grpc.unary_unary_rpc_method_handler(inventory.release),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("shop.v1.Inventory", methods)])
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    async with connect(flow_server) as flow:
        await register(flow, "inventory", RESERVE)
        await stop.wait()
    await server.stop(grace=5)
    say("inventory", f"ends; in stock: {inventory.stock}")


if __name__ == "__main__":
    run(main(*sys.argv[1:]))
