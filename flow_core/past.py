"""`Past`: definitions of revisions that are not the current ones, for executions that began with them.

Lives here: reading them from the store, and keeping the last ones. Does not live here: current ones (``catalog.py``).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from flow_core.engine import changes
from flow_core.engine.definition import Definition
from flow_core.errors import UnknownFlow

if TYPE_CHECKING:
    from flow_core.proto.encoding import OperationDecoder
    from flow_core.stores.base import Store

__all__ = ["Past"]

#: Definitions that are kept.
MOST: Final = 64


class Past:
    """See the module."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int], Definition] = OrderedDict()

    async def definition(
        self, flow: str, revision: int, store: Store | None, registry: Callable[[], OperationDecoder]
    ) -> Definition:
        """The definition of a flow as it was at a revision.

        Raises:
            UnknownFlow: the store does not have it; DecodeError, UnknownOperation, StoreCorrupt, StoreError.
        """
        place = (flow, revision)
        found = self._kept.get(place)
        if found is None:
            found = Definition(flow)
            if store is not None:
                stored = [change for change in await store.definitions(flow) if change.revision <= revision]
                changes.apply_changes(found, {}, stored, registry())
            if found.revision != revision:
                raise UnknownFlow(f"revision {revision} of flow {flow!r} is in no store", flow=flow)
            self._kept[place] = found
            while len(self._kept) > MOST:
                self._kept.popitem(last=False)
        self._kept.move_to_end(place)
        return found
