"""A rabbitmq-server for tests: an own node, an own port mapper, nothing beyond loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.servers.process import Guard, ServerProcess, free_port, need

PASSWORD = "s3cr3t-of-rabbitmq"  # a test's own server
CONFIG = """
listeners.tcp.1 = 127.0.0.1:{port}
default_user = flow
default_pass = {password}
loopback_users = none
log.console = true
log.file = false
"""
#: Erlang's distribution and the port mapper listen on loopback only.
KERNEL = "[{kernel, [{inet_dist_use_interface, {127,0,0,1}}]}]."


class RabbitMqServer(ServerProcess):
    """User ``flow``. Takes several seconds to start: one per test session."""

    def __init__(self, folder: Path) -> None:
        program = need("rabbitmq-server", "rabbitmq-server")
        real = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # Debian's own command insists on its user and folders
        if real.exists():
            program = str(real)
        port, mapper, distribution = free_port(), free_port(), free_port()
        (folder / "rabbitmq.conf").write_text(CONFIG.format(port=port, password=PASSWORD))
        (folder / "advanced.config").write_text(KERNEL)
        (folder / "enabled_plugins").write_text("[].")
        (folder / "env.conf").touch()
        environment = {
            "HOME": str(folder),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "env.conf"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_NODENAME": f"flow{port}@localhost",
            "RABBITMQ_NODE_PORT": str(port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1",  # two processors are shared with the tests
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(mapper),
        }
        self._mapper = {**os.environ, **environment}
        self._epmd = None
        super().__init__("rabbitmq", [program], port, folder, environment=environment)

    def start(self) -> None:
        # Started by us, the port mapper is ours to end; started by the server it would stay.
        epmd = shutil.which("epmd")
        if epmd is None:
            pytest.fail("needs epmd, which comes with erlang-base")
        self._epmd = subprocess.Popen([epmd], env=self._mapper, stdin=subprocess.DEVNULL, start_new_session=True)
        self._epmd_guard = Guard(self._epmd.pid)
        super().start()

    def _end(self, how) -> None:
        super()._end(how)
        epmd, self._epmd = self._epmd, None
        if epmd is not None:
            epmd.kill()
            epmd.wait()
            self._epmd_guard.release()

    def url(self, password: str = PASSWORD) -> str:
        return f"amqp://flow:{password}@127.0.0.1:{self.port}/"
