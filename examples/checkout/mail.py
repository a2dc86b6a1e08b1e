"""The mail service, over NATS: tells the customer how the order was paid.

Run as ``python mail.py URL-OF-THE-FLOW-SERVER URL-OF-NATS``.
"""

import json
import sys
from collections.abc import Mapping

from service import register, say, stop_signal

from flow_core import REQUEST, ClientCallOperation, Permanent, Step, connect, run
from flow_core.rpc.nats import NatsRpcClient

CONFIRM = Step(
    "confirm",
    ClientCallOperation("mail", "confirm"),
    after="charge",
    input={"order": REQUEST, "payment": "charge"},  # arrives as one JSON object
    retry=3,
    timeout=5,
)


class Mail:
    """One endpoint, and the outbox."""

    def __init__(self) -> None:
        #: Idempotency key -> mail. A call that comes twice sends one.
        self.sent: dict[str, str] = {}

    async def confirm(self, data: bytes, headers: Mapping[str, str]) -> bytes:
        asked, key = json.loads(data), headers["flow-idempotency-key"]
        order, how = asked["order"], asked["payment"]["how"]
        if "@" not in order["mail"]:
            say("mail", f"order {order['number']}: {order['mail']!r} is no address")
            raise Permanent(f"{order['mail']!r} is no address")
        if key not in self.sent:
            self.sent[key] = f"order {order['number']}, {how}"
            say("mail", f"order {order['number']}: told {order['mail']}: {how} {order['total']}")
        return self.sent[key].encode()


async def main(flow_server: str, nats: str) -> None:
    stop, mail = stop_signal(), Mail()
    network = NatsRpcClient(nats)
    await network.serve("mail", "confirm", mail.confirm)
    async with connect(flow_server) as flow:
        await register(flow, "mail", CONFIRM)
        await stop.wait()
    await network.close()
    say("mail", f"ends; sent: {'; '.join(mail.sent.values())}")


if __name__ == "__main__":
    run(main(*sys.argv[1:]))
