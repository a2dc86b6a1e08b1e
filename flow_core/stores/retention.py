"""Deletes finished executions from time to time."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Final

from flow_core.errors import StoreError
from flow_core.model.store import Store

__all__ = ["forget_old"]

log = logging.getLogger("flow_core")

#: Seconds between two looks.
EVERY: Final = 60.0


async def forget_old(store: Store, keep: int | timedelta) -> None:
    """Let the store remove what is older than ``keep``, now and every minute, until cancelled."""
    while True:
        try:
            await store.retain(keep)
        except StoreError as error:
            log.warning("old executions can't be removed: %s", error.message)
        await asyncio.sleep(EVERY)
