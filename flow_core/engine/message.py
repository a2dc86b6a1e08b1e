"""`Message`: the base of events and commands: frozen records that are made quickly at import.

There are two dozen of them, and `dataclasses` compiles several functions for each: five milliseconds of every import of
the package.

Lives here: that base. Does not live here: the records (``engine/events.py``).
"""

from __future__ import annotations

import inspect
from typing import Any, ClassVar, NoReturn, dataclass_transform

__all__ = ["Message"]


@dataclass_transform(frozen_default=True)
class Message:
    """A frozen record of the annotated fields of its class, which may have defaults; equal to one of its own class."""

    __match_args__: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        type.__setattr__(cls, "__match_args__", tuple(inspect.get_annotations(cls)))

    def __init__(self, *values: Any, **named: Any) -> None:
        fields = self.__match_args__
        given = dict(zip(fields, values, strict=False)) | named
        if len(values) > len(fields) or not all(name in given or hasattr(type(self), name) for name in fields):
            raise TypeError(f"{type(self).__name__} has the fields {', '.join(fields)}")
        if len(given) != len(values) + len(named) or not given.keys() <= set(fields):
            raise TypeError(f"{type(self).__name__}: a field is given twice, or unknown: {', '.join(named)}")
        self.__dict__.update(given)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.__match_args__)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash((type(self), self._values()))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
        return f"{type(self).__name__}({fields})"
