"""`AuditStore`: ``audit:///var/log/flow.jsonl`` keeps executions in memory and writes a line for each record."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

from flow_core.errors import InvalidOption
from flow_core.model.records import Epoch, Record, to_json
from flow_core.stores import MemoryStore

__all__ = ["AuditStore"]


class AuditStore(MemoryStore):
    """A store in memory with a log. What it keeps ends with the process; the log does not."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.path = url.partition("://")[2]
        if not self.path:
            raise InvalidOption(f"{url!r:.80} names no file", fix="write audit:///path/of/file")

    async def commit(self, epoch: Epoch, records: Sequence[Record], *, commit_id: int | None = None) -> None:
        """Keep the records, then log them."""
        await super().commit(epoch, records, commit_id=commit_id)
        await asyncio.to_thread(self._log, [json.dumps(to_json(record)) for record in records])

    def _log(self, lines: list[str]) -> None:
        with open(self.path, "a", encoding="utf-8") as log:
            log.writelines(line + "\n" for line in lines)
