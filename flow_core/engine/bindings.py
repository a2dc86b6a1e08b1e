"""`Bindings`: which callables of this process the names in steps stand for.

A stored step only names its callables, and a stored name is never imported: the process has to provide the callable by
`bind`, or by registering the same step again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from flow_core.core.plan import Kind
from flow_core.errors import InvalidStep, did_you_mean
from flow_core.model.operation import LocalOperation, Operation
from flow_core.model.step import Step

__all__ = ["Bindings", "Call", "roles"]

Call = tuple[int, int, Callable[..., Any] | None]


class Bindings:
    """Names that steps use -> the callables of this process: predicates (``when=``) and local operations."""

    __slots__ = ("functions", "places", "predicates", "version")

    def __init__(self) -> None:
        self.functions: dict[str, Callable[..., Any]] = {}
        self.predicates: dict[str, Callable[[Any], bool]] = {}
        #: (flow, step, role, name of the operation) -> the callable it was registered with in this process. All four
        #: are needed because lambdas of one function share a name.
        self.places: dict[tuple[str, str, str, str], Callable[..., Any]] = {}
        #: Grows with every change, which makes earlier plans stale.
        self.version = 0

    def learn(self, flow: str, steps: Iterable[Step]) -> bool:
        """Remember the callables of steps, for stored steps. Returns whether any is new."""
        new = False
        for step in steps:
            for role, operation in roles(step):
                if isinstance(operation, LocalOperation) and operation.function is not None:
                    place = (flow, step.id, role, operation.name)
                    new |= self.places.get(place) is not operation.function
                    self.places[place] = operation.function
        return new

    def missing(self, flow: str, steps: Iterable[Step]) -> list[str]:
        """Texts that name the callables and predicates that steps need and this process lacks."""
        found = []
        for step in steps:
            for role, operation in roles(step):
                if isinstance(operation, LocalOperation) and self.call_of(operation, (flow, step.id, role))[2] is None:
                    found.append(f"the callable {operation.name!r} of step {step.id!r}")
            if step.when is not None and step.when not in self.predicates:
                found.append(f"the predicate {step.when!r} of step {step.id!r}")
        return found

    def call_of(self, operation: Operation, place: tuple[str, str, str] | None = None) -> Call:
        """(kind, arity, callable) of an operation; the callable is None for a local operation that is not bound.

        Args:
            place: flow, step and role, to find the callable that was registered there.
        """
        if not isinstance(operation, LocalOperation):
            return Kind.KIND_OPERATION, 2, operation.execute
        if operation.function is None:
            function = self.functions.get(operation.name)
            if function is None and place is not None:
                function = self.places.get((*place, operation.name))
            if function is None:
                return Kind.KIND_UNBOUND, 1, None
            operation = operation.bind(function)
        return (Kind.KIND_COROUTINE if operation.is_async else Kind.KIND_THREAD), operation.arity, operation.function

    def predicate(self, step: Step, lenient: bool = False) -> Callable[[Any], bool]:
        """The predicate that ``step.when`` names.

        Raises:
            InvalidStep: it is not registered. With ``lenient`` the predicate raises this when it is called.
        """
        assert step.when is not None
        found = self.predicates.get(step.when)
        if found is not None:
            return found
        error = InvalidStep(
            f"step {step.id!r} asks the predicate {step.when!r}, which is not registered",
            fix=did_you_mean(step.when, self.predicates) or f"flow.predicate({step.when!r}, function)",
            step=step.id,
        )
        if not lenient:
            raise error

        def unregistered(value: Any) -> bool:
            raise error

        return unregistered


def roles(step: Step) -> Iterator[tuple[str, Operation]]:
    """The operations of a step by role."""
    yield "operation", step.operation
    if step.fallback is not None:
        yield "fallback", step.fallback.operation
    if step.compensation is not None:
        yield "compensation", step.compensation
