"""One virtual environment per rival, so that nobody's dependencies disturb anybody's figures.

flow-core itself and the pure asyncio peers run with the Python that runs the benchmarks; a rival runs in its own
environment when that exists, else with the same Python, which may lack its library (then it is named as missing).
"""

import os
import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.peers import Peer

ROOT = Path(__file__).resolve().parent.parent
DEFAULT = ROOT / "build" / "peers"
# Everything these need comes with flow-core's own requirements.
HOME = frozenset({"flow_core", "asyncio", "graphlib"})


def python_of(peer: Peer, folder: Path) -> Path:
    """The interpreter that measures this peer."""
    own = folder / peer.name / "bin" / "python"
    return own if peer.name not in HOME and own.exists() else Path(sys.executable)


def install(peer: Peer, folder: Path) -> int:
    """Create the peer's environment and install what it requires; pip's exit code."""
    if peer.name in HOME:
        print(f"{peer.name}: runs with {sys.executable}")
        return 0
    target = folder / peer.name
    print(f"{peer.name}: {peer.pip}  (in {os.path.relpath(target)})", flush=True)
    if not (target / "bin" / "python").exists():
        venv.create(target, with_pip=True)
    command = [target / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", *peer.requires]
    return subprocess.run(command, check=False).returncode
