"""A redis-server for tests, which writes every command to disk before it answers."""

from __future__ import annotations

from pathlib import Path

from tests.servers.process import ServerProcess, free_port, need

PASSWORD = "s3cr3t-of-redis"  # a test's own server
CONFIG = """
bind 127.0.0.1
port {port}
dir {folder}
requirepass {password}
appendonly {durable}
appendfsync always
save ""
"""


class RedisServer(ServerProcess):
    """``appendfsync always``: what was answered survives a SIGKILL."""

    def __init__(self, folder: Path, durable: bool = True) -> None:
        port = free_port()
        config = folder / "redis.conf"
        config.write_text(
            CONFIG.format(port=port, folder=folder, password=PASSWORD, durable="yes" if durable else "no")
        )
        super().__init__("redis", [need("redis-server", "redis-server"), str(config)], port, folder)

    def url(self, password: str = PASSWORD) -> str:
        return f"redis://:{password}@127.0.0.1:{self.port}/0"
