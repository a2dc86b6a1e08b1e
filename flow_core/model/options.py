"""Options: retry, fallback, and the frozen option records of operations, executions, flows and executors.

Lives here: what may be set, and the checks of it. Does not live here: which of several set values wins
(``engine/policy.py``).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypedDict

from flow_core.errors import InvalidOption
from flow_core.model.ids import check_count, seconds

if TYPE_CHECKING:
    from flow_core.model.environment import Environment
    from flow_core.model.resolver import FlowResolver

__all__ = [
    "Author",
    "ExecuteFields",
    "ExecuteOptions",
    "ExecutorOptions",
    "FlowOptions",
    "OperationOptions",
    "Retry",
    "error_names",
]

Seconds = float | timedelta
MAX_FLOAT: Final = sys.float_info.max
EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})


def error_names(errors: type[BaseException] | str | Iterable[type[BaseException] | str]) -> tuple[str, ...]:
    """Exception classes as ``module.QualName`` strings. Names, so that a stored step needs no import to be read."""
    if isinstance(errors, (str, type)):
        errors = (errors,)
    if not isinstance(errors, Iterable):
        raise InvalidOption(f"an exception class or its name is needed, or several, not {errors!r:.80}")
    names = []
    for error in errors:
        if isinstance(error, type) and issubclass(error, BaseException):
            names.append(f"{error.__module__}.{error.__qualname__}")
        elif isinstance(error, str) and error:
            names.append(error)
        else:
            raise InvalidOption(f"an exception class or its name is needed, not {error!r:.80}")
    return tuple(names)


def _given(value: Any, what: str) -> Any:
    """None means "not set" elsewhere; here it is a mistake."""
    if value is None:
        raise InvalidOption(f"{what} must not be None", fix="leave it out for the default")
    return value


def _delay(value: Any, what: str, *, zero: bool = False) -> float | None:
    if zero and not isinstance(value, bool) and value in (0, timedelta()):
        return 0.0
    return seconds(_given(value, what), what)


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and when to try again.

    Args:
        retries: attempts after the first one.
        initial: seconds before the first retry.
        factor: each further delay is this times longer.
        max: no delay is longer than this, seconds.
        jitter: ``"full"`` draws the delay evenly from 0 to the computed one (AWS Architecture Blog, "Exponential
            Backoff And Jitter", 2015); ``"none"`` takes the computed one.
        retry_on: only these exceptions (classes, or ``module.QualName`` strings) are retried; subclasses count.
        give_up_on: these never are.
    """

    retries: int = 3
    initial: float = 0.1
    factor: float = 2.0
    max: float = 30.0
    jitter: Literal["full", "none"] = "full"
    retry_on: tuple[str, ...] = ("builtins.Exception",)
    give_up_on: tuple[str, ...] = ()

    def __init__(  # noqa: PLR0917 - a record; its fields keep their order
        self,
        retries: int = 3,
        initial: Seconds = 0.1,
        factor: float = 2.0,
        max: Seconds = 30.0,
        jitter: Literal["full", "none"] = "full",
        retry_on: type[BaseException] | str | Iterable[type[BaseException] | str] = Exception,
        give_up_on: type[BaseException] | str | Iterable[type[BaseException] | str] = (),
    ) -> None:
        check_count(_given(retries, "Retry.retries"), "Retry.retries")
        if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not 1 <= factor <= MAX_FLOAT:
            raise InvalidOption(f"Retry.factor must be a number of at least 1, not {factor!r:.80}")
        if jitter not in ("full", "none"):
            raise InvalidOption(f'Retry.jitter must be "full" or "none", not {jitter!r:.80}')
        put = object.__setattr__
        put(self, "retries", retries)
        put(self, "initial", _delay(initial, "Retry.initial", zero=True))
        put(self, "factor", float(factor))
        put(self, "max", _delay(max, "Retry.max"))
        put(self, "jitter", jitter)
        put(self, "retry_on", error_names(retry_on))
        put(self, "give_up_on", error_names(give_up_on))


@dataclass(frozen=True, slots=True)
class OperationOptions:
    """Defaults that an operation brings along; what the step sets wins.

    Args:
        timeout: seconds per attempt.
        retries: a count or a `Retry`.
        allow_fail: a failure does not fail the execution.
        context: your own values, for your own operations.
    """

    timeout: float | None = None
    retries: int | Retry | None = None
    allow_fail: bool | None = None
    context: Mapping[str, Any] = field(default_factory=lambda: EMPTY, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "timeout", seconds(self.timeout, "OperationOptions.timeout"))
        if not isinstance(self.retries, Retry):
            check_count(self.retries, "OperationOptions.retries")
        if self.allow_fail is not None and not isinstance(self.allow_fail, bool):
            raise InvalidOption(f"OperationOptions.allow_fail must be a bool or None, not {self.allow_fail!r:.80}")
        if not isinstance(self.context, Mapping):
            raise InvalidOption(f"OperationOptions.context must be a mapping, not {type(self.context).__name__}")
        if self.context is not EMPTY:  # a copy: nobody changes an operation through the dict it was made from
            object.__setattr__(self, "context", MappingProxyType(dict(self.context)))


DEFAULT_OPERATION_OPTIONS: Final = OperationOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecuteOptions:
    """The options of one execution, as a record: ``execute(flow, request, options=ExecuteOptions(...))``.

    Args:
        flow: name of the flow, where it is not given directly.
        id: your id; the same id again is the same execution.
        step: start here: this step and its descendants only.
        output: name of the output that is the result.
        timeout: seconds for the whole execution.
        async_: return the handle at once.
        concurrency: most steps of this execution that run at the same time.
        retries: for steps and operations that set none.
        client: name -> client, for operations of this execution that call or publish.
        inputs: outputs from outside, for ``step``.
        priority: 0 (first) to 3.
        unresolved: ``"fail"`` or ``"wait"`` when steps are named that nobody registered yet.
        rollback: run the compensations when the execution fails.
        context: your own values, readable in every step as ``ctx.options``.
    """

    flow: str | None = None
    id: str | None = None
    step: str | None = None
    output: str | None = None
    timeout: float | None = None
    async_: bool = False
    concurrency: int | None = None
    retries: int | Retry | None = None
    client: Any = None
    inputs: Mapping[str, Any] = field(default_factory=lambda: EMPTY)
    priority: int = 1
    unresolved: Literal["fail", "wait"] = "fail"
    rollback: bool = True
    context: Mapping[str, Any] = field(default_factory=lambda: EMPTY)

    def __post_init__(self) -> None:
        object.__setattr__(self, "timeout", seconds(self.timeout, "timeout"))
        check_count(self.concurrency, "concurrency", least=1)
        if not isinstance(self.retries, Retry):
            check_count(self.retries, "retries")
        check_count(self.priority, "priority")
        if self.priority > 3:
            raise InvalidOption(f"priority must be 0 (first) to 3 (last), not {self.priority}")
        if self.unresolved not in ("fail", "wait"):
            raise InvalidOption(f'unresolved must be "fail" or "wait", not {self.unresolved!r:.80}')


class ExecuteFields(TypedDict, total=False):
    """The keywords of ``execute``; `ExecuteOptions` says what each means."""

    id: str | None
    step: str | None
    output: str | None
    timeout: float | None
    async_: bool
    concurrency: int | None
    retries: int | Retry | None
    client: Any
    inputs: Mapping[str, Any]
    priority: int
    unresolved: Literal["fail", "wait"]
    rollback: bool
    context: Mapping[str, Any]


DEFAULT_EXECUTE_OPTIONS: Final = ExecuteOptions()


class Author(NamedTuple):
    """Who changes a flow.

    Attributes:
        owner: whose the new steps are; empty in a replacement: they stay whose the old one was.
        principal: who asked for it; empty: this process itself.
        time_utc: when, seconds.
        may_change: whether steps of an owner may be deleted or replaced by this author; None: all may.
    """

    owner: str
    principal: str = ""
    time_utc: float = 0.0
    may_change: Callable[[str], bool] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowOptions:
    """The options of a `Flow`.

    Args:
        executor: an `Executor`.
        store: an url or a `flow_core.stores.Store`; None for executions that live in this process only.
        keep: which finished executions the store keeps: the latest so many, those not older than a timedelta, or (None)
            all.
        context: your own values.
    """

    executor: Any = None
    store: Any = None
    keep: int | timedelta | None = None
    context: Mapping[str, Any] = field(default_factory=lambda: EMPTY)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorOptions:
    """The options of an `Executor`.

    Args:
        flow: the Flow that nested executions use.
        error_handler: called with every exception that escaped a step, BaseException included, and its StepContext.
        context: your own values.
        concurrency: most steps that run (have started and not finished) at the same time, over all executions.
        workers: threads for sync callables.
        queue: most unfinished executions; ``execute`` waits for room beyond it.
        keep: how many finished executions are remembered, a count or a timedelta.
        budget: seconds of steps driven in one go before other tasks of the loop get their turn.
        drain: seconds that ``stop`` waits for running steps.
        name: of this executor among those that share a store; None for one that no other process has.
        lease: seconds without a heartbeat after which others take over its executions.
        max_recoveries: how often the process of an execution may end without any of its steps having ended in between,
            before the execution is paused.
        environment: where time, randomness and ids come from; None: from the loop and this machine.
    """

    flow: FlowResolver | None = None
    error_handler: Callable[[BaseException, Any], None] | None = None
    context: Mapping[str, Any] = field(default_factory=lambda: EMPTY)
    concurrency: int = 10_000
    workers: int = 8
    queue: int = 1_000_000
    keep: int | timedelta = 1_000
    budget: float = 0.001
    drain: float = 25.0
    name: str | None = None
    lease: float = 15.0
    max_recoveries: int = 5
    environment: Environment | None = None

    def __post_init__(self) -> None:
        check_count(self.concurrency, "concurrency", least=1)
        check_count(self.workers, "workers", least=1)
        check_count(self.queue, "queue", least=1)
        if not isinstance(self.keep, timedelta):
            check_count(self.keep, "keep")
        check_count(self.max_recoveries, "max_recoveries", least=1)
        seconds(self.budget, "budget")
        seconds(self.lease, "lease")
        if self.drain != 0:  # 0: cancel at once
            seconds(self.drain, "drain")
