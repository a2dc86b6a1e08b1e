"""Where executions and definitions are kept.

Lives here: ``base`` (the contract), ``records``, ``memory`` (the reference), ``sqlite`` (one file, no server). Does not
live here: the replay of records, which is the engine's. ``sqlite`` is imported when it is used and not before.
"""

from flow_core.stores.base import Store
from flow_core.stores.memory import MemoryStore

__all__ = ["MemoryStore", "Store"]
