"""What is in ``deploy/``: settings that load, a unit that systemd finds tight, a container that is not root."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flow_core.cli.settings import ClientSettings, ServeSettings, load
from flow_core.net.loopback import is_loopback

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
pytestmark = pytest.mark.skipif(not DEPLOY.is_dir(), reason="about the checkout, not about the wheel")


@pytest.fixture(scope="module")
def unit() -> str:
    return (DEPLOY / "flow-core.service").read_text(encoding="utf-8")


def everything_on() -> str:
    """The example with what is commented out switched on."""
    text = (DEPLOY / "flow-core.toml").read_text(encoding="utf-8")
    text = re.sub(r'^listen = "127.*\n', "", text, flags=re.MULTILINE)
    return re.sub(r'^#(?=[\[a-z"])', "", text, flags=re.MULTILINE)


def test_the_example_loads_and_so_does_what_it_offers(tmp_path):
    settings = load(ServeSettings, environment={}, file=DEPLOY / "flow-core.toml")
    assert is_loopback(settings.listen) and settings.keys is not None and settings.drain == 25
    file = tmp_path / "all.toml"
    file.write_text(everything_on())
    wide = load(ServeSettings, environment={}, file=file)
    assert not is_loopback(wide.listen) and wide.tls_cert is not None and wide.tls_key is not None
    assert wide.certificates == {"payment.internal": "service:payment"} and wide.client_ca is not None
    assert load(ClientSettings, environment={}, file=file) == ClientSettings()


def test_the_unit_waits_longer_than_the_drain(unit):
    stop = int(re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)[0])
    assert stop > load(ServeSettings, environment={}, file=DEPLOY / "flow-core.toml").drain + 5
    for line in (
        "DynamicUser=yes",
        "ProtectSystem=strict",
        "StateDirectory=flow-core",
        "NoNewPrivileges=yes",
        "Type=notify",
    ):
        assert f"\n{line}\n" in unit


def test_its_variables_are_settings(unit):
    variables = re.findall(r"FLOW_CORE_\w+(?==)", unit)
    assert variables and all(load(ServeSettings, environment={one: "x"}, folder=Path("/")) for one in variables)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze: apt-get install systemd")
def test_systemd_takes_the_unit_and_finds_it_tight(unit, tmp_path):
    here = tmp_path / "flow-core.service"
    here.write_text(unit.replace("/opt/flow-core/bin/flow-core", sys.executable))  # which has to exist
    verified = subprocess.run(["systemd-analyze", "verify", here], capture_output=True, text=True, timeout=60)
    assert verified.returncode == 0 and "flow-core.service" not in verified.stderr, verified.stderr
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", here]
    looked = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert looked.returncode == 0, looked.stdout + looked.stderr  # exposure at most 2.0 of 10


def test_the_container_has_stages_a_user_and_a_health_check():
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    stages = [line for line in lines if line.startswith("FROM ")]
    assert len(stages) == 2 and all(re.search(r":3\.\d+-slim", stage) for stage in stages)
    last = "\n".join(lines).rpartition("FROM ")[2]
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", last, re.MULTILINE) and "HEALTHCHECK" in last and "g++" not in last
    assert "STOPSIGNAL SIGTERM" in last and 'ENTRYPOINT ["flow-core"]\nCMD ["serve"]' in last
