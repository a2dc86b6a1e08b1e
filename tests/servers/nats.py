"""A nats-server for tests, with JetStream on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.servers.process import ServerProcess, free_port, need

PASSWORD = "s3cr3t-of-nats"  # a test's own server
CONFIG = """
listen: "127.0.0.1:{port}"
max_payload: {max_payload}
jetstream {{ store_dir: "{folder}/jetstream" }}
authorization {{
  users = [
    {{ user: "flow", password: "{password}" }}
    {{ user: "guarded", password: "{password}", permissions: {{
      publish: ["open.>", "_INBOX.>"], subscribe: ["open.>", "_INBOX.>"] }} }}
  ]
}}
"""


class NatsServer(ServerProcess):
    """Users ``flow`` (may do everything) and ``guarded`` (topics ``open.>`` only)."""

    def __init__(self, folder: Path, max_payload: str = "8MB") -> None:
        port = free_port()
        config = folder / "nats.conf"
        config.write_text(CONFIG.format(port=port, folder=folder, password=PASSWORD, max_payload=max_payload))
        super().__init__("nats", [need("nats-server", "nats-server"), "-c", str(config)], port, folder)

    def url(self, user: str = "flow", password: str = PASSWORD) -> str:
        return f"nats://{user}:{password}@127.0.0.1:{self.port}"


async def arrived(client: Any) -> None:
    """The server knows all subscriptions of a nats-py client.

    Its own ``flush`` does not say so: the PING overtakes what is still in the client's buffer.
    """
    inbox = client.new_inbox()
    echo = await client.subscribe(inbox)
    await client.publish(inbox, b"")
    await echo.next_msg(5)
    await echo.unsubscribe()
