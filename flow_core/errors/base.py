"""What all errors share: place, fix line, copying, and the suggestion of near ids."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, ClassVar

__all__ = ["FlowError", "did_you_mean"]


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """A fix line that names the closest known ids, or None when nothing is close."""
    close = get_close_matches(name, list(known)[:10_000], n=3)
    return f"did you mean {' or '.join(map(repr, close))}?" if close else None


class FlowError(Exception):
    """Base of all errors of flow-core.

    Args:
        message: what happened, naming the thing and the place.
        fix: what to do about it, one line; printed below the message.
        flow, execution, step, attempt: where it happened, as far as known; also kept as attributes.

    Attributes:
        code: stable name for programs, e.g. ``"cycle"``.
    """

    # Its public home: `Retry(retry_on=)` compares module and name.
    __module__ = "flow_core.errors"

    code: ClassVar[str] = "flow_error"

    def __init__(
        self, message: str, *, fix: str | None = None, flow: str | None = None, execution: Any = None,
        step: str | None = None, attempt: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.flow = flow
        self.execution = execution
        self.step = step
        self.attempt = attempt

    def __str__(self) -> str:
        return f"{self.message}\n  fix: {self.fix}" if self.fix else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception's own way calls the class with `args` alone, which those with required keywords refuse.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(cls: type[FlowError], args: tuple[Any, ...], state: dict[str, Any]) -> FlowError:
    """A copy of an error, from `copy` or from another process, without running its ``__init__`` again."""
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error
