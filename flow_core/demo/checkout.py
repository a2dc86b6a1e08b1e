"""The shop of the demo: services that don't know one another, each registering its own steps of one flow."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flow_core import ClientCallOperation, ClientPublishOperation, Flow, Retry, Step
from flow_core.errors import AdapterError
from flow_core.pubsub import MemoryPubSubClient, Message
from flow_core.rpc import MemoryRpcClient

__all__ = ["FLOW", "Shop"]

FLOW = "checkout"
#: The order that no carrier takes.
TOO_HEAVY = 500
#: The payment gateway answers the first call of each order with an error.
CHARGE_AFTER = 2


@dataclass
class Shop:
    """The services and what connects them.

    Args:
        seed: of the latencies; the same seed gives the same ones, in whatever order they are asked for.
        speed: all times are divided by it.
        diary: gets a line when a service does, or undoes, something worth telling.
    """

    seed: int
    speed: float
    diary: Callable[[str], None]
    rpc: MemoryRpcClient = field(default_factory=MemoryRpcClient)
    pubsub: MemoryPubSubClient = field(default_factory=MemoryPubSubClient)

    async def work(self, what: str, order: str, seconds: float) -> None:
        """Take about so long for something."""
        share = random.Random(f"{self.seed}/{order}/{what}").uniform(0.7, 1.3)
        await asyncio.sleep(seconds * share / self.speed)

    def retry(self, retries: int, initial: float) -> Retry:
        """Retries with delays that fit the speed. Without jitter, to tell the same story each time."""
        return Retry(retries, initial=initial / self.speed, jitter="none")

    # --- order service: local Python --------------------------------------------------------------------------------

    async def start_orders(self, flow: Flow) -> None:
        """Checks orders, prints receipts. The receipt waits for a step of a service that may not have started yet."""

        def validate(order: dict[str, Any]) -> dict[str, Any]:  # a plain function: runs in the worker pool
            if order["total"] <= 0:
                raise ValueError(f"order {order['id']} is worth nothing")
            return order

        async def receipt(parts: dict[str, Any]) -> dict[str, Any]:
            await self.work("receipt", parts["order"]["id"], 0.1)
            charged, booked = json.loads(parts["charge"]), json.loads(parts["parcel"])
            return {"order": parts["order"]["id"], "paid": charged["amount"], "parcel": booked["parcel"]}

        parts = {"order": "order", "charge": "payment.charge", "parcel": "shipping.book"}
        await flow.create_steps(FLOW, [
            Step("order.validate", validate, output="order"),
            Step("order.receipt", receipt, input=parts, after=["payment.charge", "shipping.book"]),
            Step("order.announce", ClientPublishOperation("orders.placed"), after="order.receipt"),
        ])  # fmt: skip

    # --- inventory and payment: rpc ---------------------------------------------------------------------------------

    async def start_inventory(self, flow: Flow) -> None:
        """Reserves goods, and puts them back."""

        async def reserve(data: bytes, headers: Mapping[str, str]) -> bytes:
            order = json.loads(data)
            await self.work("reserve", order["id"], 0.4)
            return json.dumps({"order": order["id"], "items": order["items"]}).encode()

        async def release(data: bytes, headers: Mapping[str, str]) -> bytes:  # gets what `reserve` returned
            reserved = json.loads(data)
            await self.work("release", reserved["order"], 0.2)
            self.diary(f"inventory: {', '.join(reserved['items'])} back on the shelf")
            return b""

        self.rpc.serve("inventory", "reserve", reserve)
        self.rpc.serve("inventory", "release", release)
        await flow.create_step(FLOW, Step(
            "stock.reserve", ClientCallOperation("inventory", "reserve"), after="order.validate", input="order",
            compensation=ClientCallOperation("inventory", "release"),
        ))  # fmt: skip

    async def start_payment(self, flow: Flow) -> None:
        """Charges and refunds. Its gateway is not the best."""

        async def charge(data: bytes, headers: Mapping[str, str]) -> bytes:
            order = json.loads(data)
            await self.work("charge", order["id"], 0.3)
            if int(headers["flow-attempt"]) < CHARGE_AFTER:
                raise AdapterError("the gateway hangs up")
            return json.dumps({"order": order["id"], "amount": order["total"]}).encode()

        async def refund(data: bytes, headers: Mapping[str, str]) -> bytes:
            charged = json.loads(data)
            await self.work("refund", charged["order"], 0.3)
            self.diary(f"payment: {charged['amount']} given back")
            return b""

        self.rpc.serve("payment", "charge", charge)
        self.rpc.serve("payment", "refund", refund)
        await flow.create_step(FLOW, Step(
            "payment.charge", ClientCallOperation("payment", "charge"), input="order",
            after=["stock.reserve", "fraud.check"], retry=self.retry(3, 0.4),
            compensation=ClientCallOperation("payment", "refund"),
        ))  # fmt: skip

    # --- fraud and mail: pubsub -------------------------------------------------------------------------------------

    async def start_fraud(self, flow: Flow) -> None:
        """Answers on the subject that the message names."""

        async def check(message: Message) -> None:
            order = json.loads(message.data)
            await self.work("check", order["id"], 0.6)
            await message.reply(b'"fine"')

        await self.pubsub.subscribe("fraud.checks", check)
        await flow.create_step(FLOW, Step(
            "fraud.check", ClientPublishOperation("fraud.checks", reply=True), after="order.validate", input="order",
            timeout=10 / self.speed,
        ))  # fmt: skip

    async def start_mail(self) -> None:
        """Registers no step: it only listens."""

        def send(message: Message) -> None:
            placed = json.loads(message.data)
            self.diary(f"mail: order {placed['order']} is paid ({placed['paid']}), parcel {placed['parcel']}")

        await self.pubsub.subscribe("orders.placed", send)

    # --- those that come late ---------------------------------------------------------------------------------------

    async def start_shipping(self, flow: Flow) -> None:
        """Books parcels; refuses heavy ones for good, after some tries."""

        async def book(data: bytes, headers: Mapping[str, str]) -> bytes:
            order = json.loads(data)
            await self.work("book", order["id"], 0.3)
            if order["weight"] > TOO_HEAVY:
                raise AdapterError(f"no carrier takes {order['weight']} kg")
            return json.dumps({"parcel": f"P-{order['id']}"}).encode()

        self.rpc.serve("shipping", "book", book)
        await flow.create_step(FLOW, Step(
            "shipping.book", ClientCallOperation("shipping", "book"), after="payment.charge", input="order",
            retry=self.retry(2, 0.2),
        ))  # fmt: skip

    async def start_loyalty(self, flow: Flow) -> None:
        """Gives points between the payment and the receipt, which knows nothing of it."""

        async def points(order: dict[str, Any]) -> int:
            await self.work("points", order["id"], 0.2)
            return int(order["total"]) // 10

        async def take_back(points: int) -> None:
            self.diary(f"loyalty: {points} points taken back")

        await flow.create_step(FLOW, Step(
            "loyalty.points", points, input="order", after="payment.charge", before="order.receipt",
            compensation=take_back,
        ))  # fmt: skip
