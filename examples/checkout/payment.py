"""The payment service, over HTTP: charges cards, else writes invoices, and gives the money back when an order fails.

Run as ``python payment.py URL-OF-THE-FLOW-SERVER PORT``.
"""

import sys
from typing import Any

from aiohttp import web
from service import register, say, stop_signal

from flow_core import REQUEST, ClientCallOperation, Retry, Step, connect, run

CHARGE = Step(
    "charge",
    ClientCallOperation("payment", "charge"),
    after="reserve",  # whoever registers that, and whenever
    input=REQUEST,
    retry=Retry(3, initial=0.2),
    timeout=5,
    fallback=ClientCallOperation("payment", "invoice"),
    compensation=ClientCallOperation("payment", "refund"),
)


class Payment:
    """The endpoints. Some cards make trouble, as the test cards of real payment services do."""

    def __init__(self) -> None:
        #: Idempotency key -> what was done under it. A call that comes twice takes the money once.
        self.done: dict[str, dict[str, Any]] = {}

    async def charge(self, request: web.Request) -> web.Response:
        order, key = await request.json(), request.headers["flow-idempotency-key"]
        attempt, card = int(request.headers["flow-attempt"]), order["card"]
        say("payment", f"order {order['number']}: charge {order['total']}, attempt {attempt}, key {key}")
        if card == "bank-restarts" and attempt < 3:
            raise web.HTTPServiceUnavailable(text="the bank is back in a second", headers={"Retry-After": "1"})
        if card == "bank-down":
            raise web.HTTPServiceUnavailable(text="the bank is down")
        if card == "empty":
            raise web.HTTPPaymentRequired(text="the bank refuses")  # 402: asking again would not help
        return self._do("charged", order, key)

    async def invoice(self, request: web.Request) -> web.Response:
        """The fallback: it gets what `charge` got."""
        order = await request.json()
        say("payment", f"order {order['number']}: an invoice over {order['total']} instead")
        return self._do("invoiced", order, request.headers["flow-idempotency-key"])

    async def refund(self, request: web.Request) -> web.Response:
        """The compensation: it gets what `charge` or `invoice` returned."""
        paid = await request.json()
        self.done.pop(paid["payment"], None)
        say("payment", f"order {paid['number']}: gave back what was {paid['how']}")
        return web.Response()

    def _do(self, how: str, order: dict[str, Any], key: str) -> web.Response:
        paid = {"payment": key, "how": how, "number": order["number"], "total": order["total"]}
        return web.json_response(self.done.setdefault(key, paid))


async def main(flow_server: str, port: str) -> None:
    stop, payment = stop_signal(), Payment()
    app = web.Application()
    for endpoint in (payment.charge, payment.invoice, payment.refund):
        app.router.add_post(f"/payment/{endpoint.__name__}", endpoint)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(port)).start()
    async with connect(flow_server) as flow:
        await register(flow, "payment", CHARGE)
        await stop.wait()
    await runner.cleanup()
    say("payment", "ends; " + ", ".join(f"order {p['number']}: {p['how']}" for p in payment.done.values()))


if __name__ == "__main__":
    run(main(*sys.argv[1:]))
