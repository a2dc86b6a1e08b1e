"""Distributions with entry points that are installed for the time of a test.

Lives here: writing one into a folder that is on the path. Does not live here: a real package (``examples/plugin``).
"""

from __future__ import annotations

import sys
from pathlib import Path


class Installer:
    """``install(group, lines, source)`` puts a module ``<name>_flow_ops`` and its metadata into ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, group: str, lines: str, source: str = "", name: str = "acme") -> None:
        module = f"{name}_flow_ops"
        (self.folder / f"{module}.py").write_text(source)
        info = self.folder / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{lines}")
        sys.modules.pop(module, None)
