"""`Step`: one node of a flow, as its owner registers it, and its `Fallback`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final, Literal, Never

from flow_core.errors import InvalidOption, InvalidStep
from flow_core.model.ids import check_count, check_id, seconds
from flow_core.model.operation import LocalOperation, Operation
from flow_core.model.options import Retry, unknown_option

__all__ = ["ALL", "REQUEST", "Fallback", "Step", "check_steps"]

#: In ``after``/``before``: every step that does not itself say ALL. ``$`` is no character of an id: no step is hidden.
ALL: Final = "$all"
#: In ``input``: the request of the execution.
REQUEST: Final = "$request"

_put = object.__setattr__
_NONE: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fallback:
    """What runs after the last attempt of a step failed, with the step's own input.

        Step("price", fetch, fallback=Fallback(lambda item: "list price"))

    Args:
        operation: an Operation, or a callable.
        then: ``"continue"``: its output becomes the step's, and the step is SUCCESS and marked as recovered.
            ``"fail"``: it only cleans up, and the step stays FAILURE.

    Raises:
        InvalidStep, InvalidOption: naming what is wrong.
    """

    operation: Operation
    then: Literal["continue", "fail"] = "continue"

    def __post_init__(self) -> None:
        given: Any = self.operation
        if isinstance(given, type) and issubclass(given, Operation):
            raise InvalidStep(f"Fallback is the class {given.__name__}", fix="pass an instance of it")
        if not isinstance(given, Operation):
            object.__setattr__(self, "operation", LocalOperation(given))
        if self.then not in ("continue", "fail"):
            raise InvalidOption(f'Fallback.then must be "continue" or "fail", not {self.then!r:.80}')


class Step:
    """One step of a flow: what it does, when it runs, and what happens when it fails. Immutable.

        Step("pay", pay, after="reserve", retry=3, timeout=10, compensation=refund)

    ``after=["x"]`` means that this step runs after x, ``before=["y"]`` that it runs before y. (Comments in
    the original design say it the other way round.)

    Args:
        id: unique in the flow, 1 to 255 characters from ``[A-Za-z0-9._:-]``.
        operation: an `Operation`, or a callable that `LocalOperation` wraps.
        retry: how many attempts may follow the first, or a `Retry`. None: as the operation says, then the execution.
        timeout: seconds (float or timedelta) per attempt.
        total_timeout: seconds over all attempts and the delays between them.
        input: None (the request for a root, the output of the only predecessor, a mapping of all predecessors'
            outputs), the name of an output, or a mapping parameter -> name of an output. `REQUEST` names the request.
        output: name under which the output is kept; the id when None.
        after: the steps that this one runs after, ids or Steps; `ALL`: every step that does not itself say ALL.
        before: the steps that this one runs before, likewise.
        fallback: runs after the last attempt failed: an Operation or callable, or a `Fallback`.
        compensation: undoes the step when the execution fails or is aborted with ``rollback=True``.
        allow_fail: a failure of this step does not fail the execution, and its successors run.
        when: name of a registered predicate; if it returns False, the step is SKIPPED.
        join: ``"all"``: start when every predecessor succeeded. ``"any"``: at the first success. ``"done"``: when all
            have ended, however they ended.
        manual: run only when started explicitly, by ``execute(step=...)``: for rollback flows.
        delivery: ``"at_least_once"``, or ``"at_most_once"`` (a durable store records the start first).

    Raises:
        InvalidId, InvalidStep, InvalidOption: naming the step and the argument.
    """

    __slots__ = (
        "after", "allow_fail", "before", "compensation", "delivery", "fallback", "id", "input", "join", "manual",
        "operation", "output", "plain", "retry", "timeout", "total_timeout", "when",
    )  # fmt: skip

    id: str
    operation: Operation
    retry: int | Retry | None
    timeout: float | None
    total_timeout: float | None
    input: str | Mapping[str, str] | None
    output: str | None
    after: tuple[str, ...]
    before: tuple[str, ...]
    fallback: Fallback | None
    compensation: Operation | None
    allow_fail: bool | None
    when: str | None
    join: Literal["all", "any", "done"]
    manual: bool
    delivery: Literal["at_least_once", "at_most_once"]
    #: Whether nothing but id, operation, order, input and output is set: the compiler of plans takes the short way.
    plain: bool

    def __init__(
        self, id: str, operation: Operation | Callable[..., Any], *, retry: int | Retry | None = None,
        timeout: float | timedelta | None = None, total_timeout: float | timedelta | None = None,
        input: str | Mapping[str, str] | None = None, output: str | None = None,
        after: str | Step | Iterable[str | Step] = (), before: str | Step | Iterable[str | Step] = (),
        fallback: Operation | Callable[..., Any] | Fallback | None = None,
        compensation: Operation | Callable[..., Any] | None = None, allow_fail: bool | None = None,
        when: str | None = None, join: Literal["all", "any", "done"] = "all", manual: bool = False,
        delivery: Literal["at_least_once", "at_most_once"] = "at_least_once", **unknown: Never,
    ) -> None:  # fmt: skip
        if unknown:
            raise unknown_option(f"Step {id!r:.80}", unknown, Step)
        _put(self, "id", check_id(id, "step id"))
        _put(self, "operation", _as_operation(operation, id, "operation"))
        _put(self, "after", _ids(after, id, "after") if after else _NONE)
        _put(self, "before", _ids(before, id, "before") if before else _NONE)
        _put(self, "input", input if input is None else _check_input(input, id))
        _put(self, "output", output if output is None else check_id(output, f"output of step {id!r}"))
        plain = (
            retry is None and timeout is None and total_timeout is None and fallback is None and compensation is None
            and allow_fail is None and when is None and join == "all" and manual is False
            and delivery == "at_least_once"
        )  # fmt: skip
        _put(self, "plain", plain)
        if plain:
            for name, value in _PLAIN:
                _put(self, name, value)
            return
        if not isinstance(retry, Retry):
            check_count(retry, f"retry of step {id!r}")
        _put(self, "retry", retry)
        _put(self, "timeout", seconds(timeout, f"timeout of step {id!r}"))
        _put(self, "total_timeout", seconds(total_timeout, f"total_timeout of step {id!r}"))
        _put(self, "fallback", _as_fallback(fallback, id))
        _put(self, "compensation", None if compensation is None else _as_operation(compensation, id, "compensation"))
        _put(self, "allow_fail", _choice(allow_fail, (None, True, False), id, "allow_fail"))
        _put(self, "when", when if when is None else check_id(when, f"when of step {id!r}"))
        _put(self, "join", _choice(join, ("all", "any", "done"), id, "join"))
        _put(self, "manual", _choice(manual, (True, False), id, "manual"))
        _put(self, "delivery", _choice(delivery, ("at_least_once", "at_most_once"), id, "delivery"))

    @property
    def output_name(self) -> str:
        """The name its output is kept under."""
        return self.output or self.id

    def replace(self, **changes: Any) -> Step:
        """A copy with some arguments changed."""
        arguments = {name: getattr(self, name) for name in _ARGUMENTS} | changes
        return Step(arguments.pop("id"), arguments.pop("operation"), **arguments)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Step is frozen: use step.replace({name}=...)")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("Step is frozen")

    def __eq__(self, other: object) -> bool:
        if type(other) is not Step:
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in _ARGUMENTS)

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        parts = [repr(self.id), repr(self.operation)]
        defaults = dict(_PLAIN) | {"input": None, "output": None, "after": (), "before": ()}
        parts += [f"{name}={getattr(self, name)!r}" for name, value in defaults.items() if getattr(self, name) != value]
        return f"Step({', '.join(parts)})"


_PLAIN: Final[tuple[tuple[str, Any], ...]] = (
    ("retry", None), ("timeout", None), ("total_timeout", None), ("fallback", None), ("compensation", None),
    ("allow_fail", None), ("when", None), ("join", "all"), ("manual", False), ("delivery", "at_least_once"),
)  # fmt: skip
_ARGUMENTS: Final = ("id", "operation", "input", "output", "after", "before", *(name for name, _ in _PLAIN))


def check_steps(steps: Iterable[Step], flow: Any = None) -> tuple[Step, ...]:
    """``steps`` as a tuple; raises `InvalidStep` that names what is no Step."""
    if isinstance(steps, (str, bytes)) or not isinstance(steps, Iterable):
        raise InvalidStep(f"steps are needed, not {type(steps).__name__}: {steps!r:.80}", flow=flow)
    found = tuple(steps)
    for step in found:
        if type(step) is not Step:
            raise InvalidStep(f"a Step is needed, not {type(step).__name__}: {step!r:.80}", flow=flow)
    return found


def _as_operation(value: Any, step: str, what: str) -> Operation:
    if isinstance(value, Operation):
        return value
    if isinstance(value, type) and issubclass(value, Operation):
        raise InvalidStep(f"{what} of step {step!r} is the class {value.__name__}", fix="pass an instance of it")
    if not callable(value):
        raise InvalidStep(
            f"{what} of step {step!r} must be an Operation or a callable, not {type(value).__name__}: {value!r:.80}"
        )
    return LocalOperation(value)


def _as_fallback(value: Any, step: str) -> Fallback | None:
    if value is None or isinstance(value, Fallback):
        return value
    return Fallback(_as_operation(value, step, "fallback"))


def _choice(value: Any, choices: tuple[Any, ...], step: str, what: str) -> Any:
    for choice in choices:
        if value is choice or (isinstance(choice, str) and value == choice):
            return choice
    raise InvalidOption(f"{what} of step {step!r} must be one of {', '.join(map(repr, choices))}, not {value!r:.80}")


def _ids(value: Any, step: str, what: str) -> tuple[str, ...]:
    """Ids or Steps as a tuple of ids, each once, in the order given."""
    if isinstance(value, (str, Step)):
        value = (value,)
    try:
        items = tuple(value)
    except TypeError:
        raise InvalidStep(f"{what} of step {step!r} must be ids or Steps, not {type(value).__name__}") from None
    names = []
    for item in items:
        if item == ALL:
            names.append(ALL)
        elif isinstance(item, Step):
            names.append(item.id)
        else:
            names.append(check_id(item, f"an id in {what} of step {step!r}"))
    return tuple(dict.fromkeys(names)) if len(names) > 1 else tuple(names)


def _check_input(value: Any, step: str) -> str | Mapping[str, str]:
    what = f"input of step {step!r}"
    if isinstance(value, Mapping):
        if not value:
            raise InvalidStep(f"{what} is an empty mapping", fix="leave it out, or name outputs")
        for parameter, name in value.items():
            if not isinstance(parameter, str):
                raise InvalidStep(f"{what}: the parameter {parameter!r:.80} is not a str")
            if name != REQUEST:
                check_id(name, f"{what}, parameter {parameter!r}")
        return MappingProxyType(dict(value))
    if value == REQUEST:
        return REQUEST
    return check_id(value, what)
