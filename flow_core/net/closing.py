"""`Client`: closing, the same for clients that call services and for clients of message brokers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

__all__ = ["Client", "Closing"]


class Closing(ABC):
    """Something to close: by `close`, or at the end of an ``async with``."""

    @abstractmethod
    async def close(self) -> None:
        """Closing twice is fine."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class Client(Closing):
    """A client of one event loop, closed once. A subclass calls ``super().__init__()`` and looks at ``_closed``."""

    def __init__(self) -> None:
        self._closed = False

    async def close(self) -> None:
        """Refuse new calls and messages, and free what the client holds. Closing twice is fine."""
        if not self._closed:
            self._closed = True
            await self._end()
            await self._close()

    async def _end(self) -> None:
        """End what is under way, before `_close` takes what it needs; nothing new comes."""

    async def _close(self) -> None:
        """Free connections and the like. One that holds nothing has nothing to free."""
