"""Answers that are there at once, and may be awaited for a fresh one."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping
from typing import Any

__all__ = ["KnownList", "KnownMapping"]


class KnownList(list[str]):
    """What this process knows now; ``await`` it for what is known once the store has been read.

        names = flow.flows()
        names = await flow.flows()

    A flow of a server can only be awaited: code that awaits works with both.
    """

    def __init__(self, known: Iterable[str], ask: Callable[[], Coroutine[Any, Any, list[str]]]) -> None:
        super().__init__(known)
        self._ask = ask

    def __await__(self) -> Generator[Any, None, list[str]]:
        return self._ask().__await__()


class KnownMapping(dict[str, str]):
    """As `KnownList`, for a mapping."""

    def __init__(self, known: Mapping[str, str], ask: Callable[[], Coroutine[Any, Any, dict[str, str]]]) -> None:
        super().__init__(known)
        self._ask = ask

    def __await__(self) -> Generator[Any, None, dict[str, str]]:
        return self._ask().__await__()
