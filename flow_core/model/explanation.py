"""`Explanation`: what an execution waits for, in words. Its reasons are found by ``runtime/explain.py``."""

from __future__ import annotations

from dataclasses import dataclass

from flow_core.model.status import Status

__all__ = ["Explanation", "Reason"]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one step (None: the execution) has not gone further; part of an `Explanation`::

        stuck = [reason.step for reason in explanation.reasons if reason.kind == "owner"]

    Attributes:
        kind: running, owner, retry, limit, turn, predecessor, paused, ending, timeout, store, callable, elsewhere or
            over. "owner" means that the service that the step calls is not connected.
        waits_for: ids of the steps it waits for.
        seconds: until a timer rings.
    """

    step: str | None
    kind: str
    text: str
    waits_for: tuple[str, ...] = ()
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Status of an execution and the reasons for it::

        print(await flow.executor.explain("checkout", execution.id))

    ``str()`` gives the reasons as lines.
    """

    flow: str
    execution: str
    status: Status
    reasons: tuple[Reason, ...]

    def __str__(self) -> str:
        head = f"execution {self.execution} of flow {self.flow!r} is {self.status.name}"
        return "\n".join([head, *(f"  {reason.text}" for reason in self.reasons)])
