"""Options: retry, fallback, and the frozen option records of operations, executions, flows and executors."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypedDict, TypeVar

from flow_core.errors import InvalidOption, did_you_mean
from flow_core.model.ids import check_count, seconds

if TYPE_CHECKING:
    from flow_core.model.environment import Environment
    from flow_core.model.resolver import FlowResolver

__all__ = [
    "Author", "ExecuteFields", "ExecuteOptions", "ExecutorFields", "ExecutorOptions", "FlowFields", "FlowOptions",
    "OperationOptions", "Retry", "error_names", "unknown_option",
]  # fmt: skip

Record = TypeVar("Record")
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


def unknown_option(of: str, given: Iterable[str], call: Callable[..., Any]) -> InvalidOption:
    """The error for keywords that ``call`` does not have, with the nearest ones that it has."""
    parameters = inspect.signature(call).parameters.values()
    name = min(given)
    known = [parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]
    return InvalidOption(f"{of} has no option {name!r}", fix=did_you_mean(name, known))


def _named(record: type[Record]) -> type[Record]:
    """Let a record refuse a field that it does not have with `InvalidOption`."""
    make: Any = record.__init__
    known = inspect.signature(record).parameters.keys()

    @functools.wraps(make)
    def init(self: Record, *values: Any, **given: Any) -> None:
        try:
            make(self, *values, **given)
        except TypeError:
            if given.keys() <= known:
                raise
            raise unknown_option(record.__name__, given.keys() - known, record) from None

    record.__init__ = init  # type: ignore[assignment]
    return record


def _given(value: Any, what: str) -> Any:
    """None means "not set" elsewhere; here it is a mistake."""
    if value is None:
        raise InvalidOption(f"{what} must not be None", fix="leave it out for the default")
    return value


def _delay(value: Any, what: str, *, zero: bool = False) -> float | None:
    if zero and not isinstance(value, bool) and value in (0, timedelta()):
        return 0.0
    return seconds(_given(value, what), what)


@_named
@dataclass(frozen=True, slots=True)
class Retry:
    """How often and when a failed step is tried again::

        Step("charge", charge, retry=Retry(5, initial=0.5, max=60, retry_on=TimeoutError))

    Args:
        retries: number of attempts after the first one.
        initial: seconds before the first retry.
        factor: each further delay is this many times longer.
        max: longest delay, seconds.
        jitter: ``"full"`` draws the delay evenly from 0 to the computed one (AWS Architecture Blog, "Exponential
            Backoff And Jitter", 2015); ``"none"`` takes the computed one.
        retry_on: retry only these exceptions (classes, or ``module.QualName`` strings) and their subclasses.
        give_up_on: never retry these.
    """

    retries: int = 3
    initial: float = 0.1
    factor: float = 2.0
    max: float = 30.0
    jitter: Literal["full", "none"] = "full"
    retry_on: tuple[str, ...] = ("builtins.Exception",)
    give_up_on: tuple[str, ...] = ()

    def __init__(  # noqa: PLR0917 - a record; its fields keep their order
        self, retries: int = 3, initial: Seconds = 0.1, factor: float = 2.0, max: Seconds = 30.0,
        jitter: Literal["full", "none"] = "full",
        retry_on: type[BaseException] | str | Iterable[type[BaseException] | str] = Exception,
        give_up_on: type[BaseException] | str | Iterable[type[BaseException] | str] = (),
    ) -> None:  # fmt: skip
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


@_named
@dataclass(frozen=True, slots=True)
class OperationOptions:
    """Defaults of an operation; what the step sets takes precedence::

        LocalOperation(charge, options=OperationOptions(timeout=10, retries=3))

    Args:
        timeout: seconds for each attempt.
        retries: a count or a `Retry`.
        allow_fail: the execution continues when the step fails.
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


@_named
@dataclass(frozen=True, slots=True, kw_only=True)
class ExecuteOptions:
    """The options of one execution, as a record; ``execute`` takes its fields as keywords, too::

        nightly = ExecuteOptions(timeout=3600, priority=3)
        await flow.execute("report", request, nightly, id="report-2026-11-28")

    Args:
        flow: name of the flow, where it is not given directly.
        id: id of the execution. Executing with the same id again returns the same execution.
        step: start at this step, and run only it and the steps that come after it.
        output: name of the output that is the result.
        timeout: seconds for the whole execution.
        async_: return the handle as soon as the execution has started.
        concurrency: maximum number of steps of this execution that run at the same time.
        retries: for steps and operations that set none.
        client: name -> client, for operations of this execution that call or publish.
        inputs: name -> output of a step before ``step``, which does not run.
        priority: 0 (first) to 3.
        unresolved: what to do when a step is named that nobody has registered yet: ``"fail"`` or ``"wait"``.
        rollback: run the compensations when the execution fails.
        context: your own values, which every step can read as ``ctx.options``.
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


class FlowFields(TypedDict, total=False):
    """The keywords of ``Flow.init``; `FlowOptions` says what each means."""

    executor: Any
    store: Any
    keep: int | timedelta | None
    context: Mapping[str, Any]


class ExecutorFields(TypedDict, total=False):
    """The keywords of ``Executor`` and its ``init``; `ExecutorOptions` says what each means."""

    flow: FlowResolver | None
    error_handler: Callable[[BaseException, Any], None] | None
    context: Mapping[str, Any]
    concurrency: int
    workers: int
    queue: int
    keep: int | timedelta
    budget: float
    drain: float
    name: str | None
    lease: float
    max_recoveries: int
    environment: Environment | None


class Author(NamedTuple):
    """Who changes a flow.

    Attributes:
        owner: who owns the new steps; empty in a replacement, where the owner stays the same.
        principal: who asked for the change; empty: this process itself.
        time_utc: when, seconds.
        may_change: tells whether this author may delete or replace steps of an owner; None: of every owner.
    """

    owner: str
    principal: str = ""
    time_utc: float = 0.0
    may_change: Callable[[str], bool] | None = None


@_named
@dataclass(frozen=True, slots=True, kw_only=True)
class FlowOptions:
    """The options of a `Flow`, which takes them as keywords, too::

        Flow(options=FlowOptions(store="sqlite:///flow.db", keep=timedelta(days=30)))

    Args:
        executor: an `Executor`.
        store: a URL or a `flow_core.stores.Store`; None: executions live in this process only.
        keep: which finished executions the store keeps: as a count, the latest ones; as a timedelta, those that are not
            older; None: all.
        context: your own values.
    """

    executor: Any = None
    store: Any = None
    keep: int | timedelta | None = None
    context: Mapping[str, Any] = field(default_factory=lambda: EMPTY)


@_named
@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorOptions:
    """The options of an `Executor`, which takes them as keywords, too::

        Flow(executor=Executor(workers=32, concurrency=500))

    Args:
        flow: the Flow in which nested executions find other flows.
        error_handler: called with every exception that a step raised, BaseException included, and its StepContext.
        context: your own values.
        concurrency: maximum number of steps that run at the same time, over all executions.
        workers: number of threads for sync callables.
        queue: maximum number of unfinished executions. Beyond it, ``execute`` waits.
        keep: which finished executions are remembered: as a count, the latest ones; as a timedelta, those that are not
            older.
        budget: seconds for which steps are driven before other tasks of the loop get their turn.
        drain: seconds that ``stop`` waits for running executions before it cancels them.
        name: name of this executor among those that share a store; None: one that no other process has.
        lease: seconds without a heartbeat after which other executors take over its executions.
        max_recoveries: pause an execution when its process has died this many times without any step finishing in
            between.
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
