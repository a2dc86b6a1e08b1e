"""Where executions and definitions are kept.

Lives here: ``memory`` (the reference), ``sqlite`` (one file, no server), ``postgres`` (shared by several executors),
``rules`` (what every store refuses) and ``retention``. Does not live here: the contract (``model/store.py``), the
choice by url (``urls.py``), the replay of records, which is the engine's. A store's module is imported when it is used
and not before.
"""

from flow_core.model.revisions import Change
from flow_core.model.store import Store
from flow_core.stores.memory import MemoryStore

__all__ = ["Change", "MemoryStore", "Store"]
