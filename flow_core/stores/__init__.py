"""Where executions and definitions are kept.

A store's module is imported when the store is first used.
"""

from flow_core.model.revisions import Change
from flow_core.model.store import Store
from flow_core.stores.memory import MemoryStore

__all__ = ["Change", "MemoryStore", "Store"]
