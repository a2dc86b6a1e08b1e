"""`NetworkSetup`: how the contract is run against a real server on loopback, in real time.

Lives here: the life of client and server within one loop. Does not live here: the servers (``tests/servers``).
"""

import flow_core
from flow_core.errors import Rejected
from tests.aio import run
from tests.rpc.contract import Setup


class NetworkSetup(Setup):
    """``server_class`` has ``start``, ``stop``, ``serve``, ``withdraw`` and ``url``; ``client_class`` takes the URL."""

    permanent = Rejected
    server_class = None
    client_class = None

    def __init__(self, loop):
        self.server = None
        self.start = {"asyncio": run, "uvloop": flow_core.run}[loop]

    def run(self, main):
        async def whole():
            try:
                return await main
            finally:
                if self.server is not None:
                    await self.server.stop()

        return self.start(whole())

    async def client(self):
        self.server = await self.server_class().start()
        return self.client_class(self.server.url)

    async def serve(self, client, service, endpoint, handler):
        self.server.serve(service, endpoint, handler)

    async def withdraw(self, client, service, endpoint):
        self.server.withdraw(service, endpoint)
