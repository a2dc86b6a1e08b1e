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
        given = self.__dict__
        given.update(zip(fields, values, strict=False))
        given.update(named)
        if len(values) > len(fields) or len(given) != len(values) + len(named):
            raise TypeError(f"{type(self).__name__} has the fields {', '.join(fields)}, each given once")
        for name in named:
            if name not in fields:
                raise TypeError(f"{type(self).__name__} has no field {name}, but {', '.join(fields)}")
        if len(given) < len(fields):
            for name in fields:  # no generator: CPython 3.12 and 3.13 crash when there is no memory for one
                if name not in given and not hasattr(type(self), name):
                    raise TypeError(f"{type(self).__name__} needs the field {name}")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def _values(self) -> tuple[Any, ...]:
        return tuple([getattr(self, name) for name in self.__match_args__])

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash((type(self), self._values()))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
        return f"{type(self).__name__}({fields})"
