"""Revisions of flows: what a change did, as it is told to those who watch and as a store keeps it."""

from __future__ import annotations

from enum import Flag, auto
from typing import NamedTuple

from flow_core.model.step import Step

__all__ = ["Change", "RevisionChange", "StoredDefinition"]


class Change(Flag):
    """What somebody else may have changed: WORK: there are executions to `claim`; DEFINITIONS: there are new ones."""

    WORK = auto()
    DEFINITIONS = auto()


class RevisionChange(NamedTuple):
    """What one revision of a flow changed. With both, ``created`` is the one step that took the place of ``deleted``.

    ``owner``: whose the created steps are; ``principal``: who asked for it.
    """

    flow: str
    revision: int
    created: tuple[Step, ...] = ()
    deleted: str = ""
    owner: str = ""
    principal: str = ""
    time_utc: float = 0.0


class StoredDefinition(NamedTuple):
    """What one revision of a flow changed, encoded (a store does not look into it), and who owns it."""

    flow: str
    revision: int
    steps: bytes
    owner: str
