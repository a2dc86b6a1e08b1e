"""The types of `flow_core.blocking`. Written by ``python -m tests.blocking_stub``: do not edit."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from flow_core.core.plan import Plan
from flow_core.core.scheduler import Scheduler
from flow_core.model.explanation import Explanation
from flow_core.model.known import KnownList, KnownMapping
from flow_core.model.options import Author, ExecuteFields, ExecuteOptions, ExecutorFields, ExecutorOptions, FlowFields, FlowOptions
from flow_core.model.records import Page
from flow_core.model.resolver import FlowResolver
from flow_core.model.revisions import RevisionChange
from flow_core.model.status import Status
from flow_core.model.step import Step
from flow_core.model.store import Store
from flow_core.model.transition import Transition
from flow_core.operations.registry import OperationRegistry
from flow_core.pubsub.base import PubSubClient
from flow_core.rpc.base import RpcClient
from flow_core.runtime.context import StepContext
from flow_core.runtime.execution import Execution as AsyncExecution
from flow_core.runtime.executor import ExecutionTracer, Executor as AsyncExecutor, ExecutorStatistics
from types import TracebackType
from typing import Any, Never, Self, Unpack

__all__ = ["Execution", "Executor", "Flow"]

class Execution:
    """The handle of one execution, for threads::

        execution = flow.execute("checkout", {"amount": 5}, async_=True)
        for move in execution:
            print(move.step, move.status)
        print(execution.outcome())

    It has the methods of `flow_core.Execution`, blocking. Iterate over it for its transitions.
    """
    @property
    def flow(self) -> str:
        """Name of the flow."""
    @property
    def revision(self) -> int:
        """Revision of the flow that this execution runs."""
    @property
    def status(self) -> Status:
        """Status of the execution."""
    @property
    def response(self) -> Any:
        """The result value: the output named in ``execute(output=...)``, else that of the only sink, else all sinks' by
        name. None while there is none.
        """
    def result(self, step: str) -> bytes:
        """Output of a step as bytes.

        Raises:
            UnknownStep: the flow has no such step.
            IllegalMove: the step has not succeeded; the message names its status.
        """
    def step_status_of(self, step: str) -> Status:
        """Status of a step. Raises `UnknownStep`."""
    @property
    def recovered(self) -> tuple[str, ...]:
        """Ids of the steps that took over the output of their fallback."""
    @property
    def errors(self) -> dict[str, BaseException]:
        """Last error of each step that failed at least once, and of compensations as ``step.compensation``."""
    def history(self) -> list[Transition]:
        """All transitions so far in order of time: attempts and ends of steps, pauses, and the execution itself."""
    def outcome(self) -> Any:
        """The result value of a finished execution; raises the error that ended it when it did not succeed."""
    def wait(self) -> Status:
        """Wait until it ends, and return its status. Cancelling the wait does not abort the execution."""
    def when_over(self, callback: Callable[[AsyncExecution], None]) -> None:
        """Call ``callback`` with this execution when it ends, at once if it has. Needs no task per execution."""
    def __iter__(self) -> Iterator[Transition]:
        """Its transitions, past ones first, until it ends. Those of one turn of the loop arrive together."""
    def listen(self) -> asyncio.Event:
        """An event that is set at every change of the execution, until `unlisten`."""
    def unlisten(self, changed: asyncio.Event) -> None:
        """Undo `listen`."""
    def pause(self) -> None:
        """Stop starting new steps. Running steps finish and are recorded; timers freeze.

        With a store this returns when the pause is committed, so that the pause outlasts a crash.

        Raises:
            IllegalMove: it has ended; LeaseLost: another executor has taken it over.
        """
    def resume(self) -> None:
        """Continue after a pause. Does nothing when it is not paused.

        Raises:
            IllegalMove: it has ended; LeaseLost: another executor has taken it over.
        """
    def abort(self, *, rollback: bool=False, reason: str='aborted') -> None:
        """End it: no new step starts, coroutines are cancelled, threads see ``ctx.cancelled``, late results are lost.

        Returns when the cancelled coroutines have ended (after one second it no longer waits for them) and, with
        ``rollback``, the compensations are done. Does nothing when it has ended.
        """
    @property
    def plan(self) -> Plan: ...
    @property
    def request(self) -> Any: ...
    @property
    def options(self) -> Any: ...
    @property
    def parent(self) -> Any: ...
    @property
    def id(self) -> str: ...
    @property
    def counts(self) -> tuple[int, int, int, int, int]: ...
    @property
    def over(self) -> bool: ...
    @property
    def error(self) -> BaseException | None: ...

class Executor:
    """The executor of a blocking Flow, ``flow.executor``::

        for found in flow.executor.list("checkout", Status.PAUSED).items:
            flow.executor.resume(found.flow, found.execution)

    It has the methods of `flow_core.Executor`, blocking.
    """
    @property
    def start_at_once(self) -> Callable[[Plan, Any], AsyncExecution | None] | None: ...
    def init(self, **fields: Unpack[ExecutorFields]) -> None:
        """Change options. Raises `InvalidOption` while executions are running."""
    @property
    def options(self) -> ExecutorOptions:
        """The options in force."""
    def adopt(self, flow: FlowResolver) -> None:
        """Make a `Flow` the one in which child executions find other flows."""
    @property
    def flow(self) -> FlowResolver | None:
        """The `Flow` in which child executions find other flows."""
    @property
    def scheduler(self) -> Scheduler:
        """The scheduler on the running loop, made when it is first needed.

        Raises:
            ExecutorStopped: `stop` was called.
            InvalidOption: the executor is bound to another loop.
        """
    def attach(self, store: Store) -> None:
        """Keep executions in ``store``, which is open, and continue its unfinished ones.

        Raises:
            StoreError; InvalidOption: executions without a store are running.
        """
    def recover(self) -> int:
        """Take over unfinished executions of dead owners; returns how many. `attach` and each heartbeat do this."""
    def rebound(self) -> None:
        """Continue executions that waited for callables which are now registered."""
    def stop(self, drain: float | None=None) -> None:
        """Refuse new executions, wait for running ones, then cancel the rest, which becomes STOPPED.

        Paused executions are not waited for, except for their running steps.

        Args:
            drain: most seconds to wait; the executor's option when None.
        """
    def at_stop(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` when the executor has stopped. Returns a function that takes this back."""
    def execute(self, steps: Plan | Sequence[Step], request: Any=b'', *, options: ExecuteOptions | None=None, **fields: Unpack[ExecuteFields]) -> Execution:
        """Execute a plan, or a list of steps.

        Args:
            steps: a `Plan`, or the steps of a flow without a name.
            request: input of the roots.
            options: an `ExecuteOptions`; or give its fields as keywords.

        Returns:
            the execution; finished unless ``async_=True``.

        Raises:
            ExecutorStopped, ExecutionConflict, MissingInput; the error that ended the execution.
        """
    def admit(self) -> None:
        """Wait until there is room for another execution. Raises `ExecutorStopped`."""
    def start(self, plan: Plan, request: Any, options: ExecuteOptions | None=None, caller: StepContext | None=None, steps: Callable[[], bytes] | None=None) -> Execution:
        """Start an execution, or find the one that has its id. With a store, return when its start is committed.

        Args:
            caller: the attempt that waits for it; None when the caller was admitted.
            steps: encodes the steps, for a plan without a registered flow.
        """
    def restart(self, flow: str | None, id: str, step: str | None=None) -> Execution:
        """Execute a finished execution's request again, on the same revision, as a new execution.

        Args:
            step: start here, with the recorded outputs of the steps that don't come after it.

        Raises:
            UnknownExecution, UnknownStep; IllegalMove: it has not ended; MissingInput: an output that ``step`` needs is
            not recorded.
        """
    def find(self, flow: str | None, id: str) -> Execution:
        """The handle of an execution that runs here, or is still remembered.

        Raises:
            UnknownExecution: its message names the flow of the execution when that is not ``flow``.
        """
    def status(self, flow: str | None, id: str) -> Status:
        """Status of an execution."""
    def result(self, flow: str | None, id: str, step: str) -> bytes:
        """Output of a step, as bytes. See `Execution.result`."""
    def history(self, flow: str | None, id: str) -> list[Transition]:
        """All transitions of an execution so far, in order of time."""
    def export(self, flow: str | None, id: str) -> bytes:
        """Everything the store has of an execution, as a JSON document. Raises `InvalidOption` without a store."""
    def wait(self, flow: str | None, id: str) -> Status:
        """Wait until an execution ends, and return its status."""
    def ended(self, flow: str | None, id: str) -> Execution:
        """Wait until an execution ends, and return its handle, or a `StoredExecution` when only the store knows it."""
    def pause(self, flow: str | None, id: str) -> None:
        """See `Execution.pause`."""
    def resume(self, flow: str | None, id: str) -> None:
        """See `Execution.resume`."""
    def abort(self, flow: str | None, id: str, *, rollback: bool=False) -> None:
        """See `Execution.abort`. An execution that waits for callables is ended, too, but without a rollback."""
    def explain(self, flow: str | None, id: str) -> Explanation:
        """What an execution is waiting for, and why."""
    def list(self, flow: str | None=None, status: Status | None=None, *, since: float | None=None, limit: int=100, cursor: str | None=None) -> Page:
        """Executions, newest first: all in the store, or without a store those that run or are remembered.

        Args:
            since: only those that started at this time or later, UTC seconds.
            limit: executions in one page.
            cursor: that of the page before.
        """
    def statistics(self) -> ExecutorStatistics:
        """Counters, as one immutable record."""
    def table(self) -> Any:
        """The status table: a NumPy structured array, one row an execution, a zero-copy read-only view."""
    def trace(self, tracer: ExecutionTracer | None) -> None:
        """Report each execution that starts from now on, and its steps, to ``tracer``; None ends that.

        Raises:
            InvalidOption: the executor has a tracer already.
        """

class Flow:
    """`flow_core.Flow` for threads: the same methods, blocking, callable from any thread; a context manager::

        with Flow(store="sqlite:///flow.db") as flow:
            flow.create_step("greet", Step("hello", lambda name: f"hello {name}"))
            print(flow.call("greet", "world"))

    Sync callables of steps run in the executor's ``workers`` threads. One that calls this Flow again holds its thread
    until that call returns: in nested flows prefer FlowExecuteOperation, which holds none.

    Args:
        options: those of `flow_core.Flow`.

    Raises:
        IllegalMove: from every method, in a coroutine step of its own (it would wait for itself) and in a forked child.
        ExecutorStopped: from every method that has to wait, after `stop`.
    """
    def __init__(self, *, executor: AsyncExecutor | None=None, store: str | Store | None=None, keep: int | timedelta | None=None, rpc: str | Mapping[str, str | RpcClient] | RpcClient | None=None, pubsub: str | PubSubClient | None=None, operations: OperationRegistry | None=None, context: Mapping[str, Any] | None=None, options: FlowOptions | None=None, **unknown: Never) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...
    @property
    def rpc(self) -> RpcClient | None: ...
    @property
    def pubsub(self) -> PubSubClient | None: ...
    def init(self, **options: Unpack[FlowFields]) -> None:
        """Change options (executor, store, keep, context). Raises `InvalidOption` while executions are under way."""
    @property
    def options(self) -> FlowOptions:
        """The options in force."""
    @property
    def executor(self) -> Executor:
        """The executor: look up and control executions by id."""
    @property
    def operations(self) -> OperationRegistry:
        """The operation types that this flow can decode."""
    def open(self) -> None:
        """Open the store, read its flows, and continue unfinished executions. Does nothing without a store.

        ``async with`` calls it, and so does the first method that needs the store.

        Raises:
            ForeignStore, StoreCorrupt, SchemaTooNew, StoreUnavailable: the store was not changed.
        """
    def stop(self, drain: float | None=None) -> None:
        """Stop the executor (see `Executor.stop`), close the clients, then end the thread. Nothing the second time."""
    def close(self) -> None:
        """The same as `stop`."""
    def create_step(self, flow: str, step: Step, *, revision: int | None=None, author: Author | None=None) -> int:
        """Add a step to a flow, and return the new revision. A flow is created with its first step.

        With a store, a step that is stored already, unchanged, makes no new revision; it gets its callables.

        Args:
            revision: make the change only if the flow is at this revision (compare-and-set).
            author: who owns the step; None: with a store, this host. With an author, a step that the flow has already,
                unchanged and of the same owner, makes no new revision.

        Raises:
            InvalidId, InvalidStep, DuplicateStep, CycleError, OutputConflict, RevisionConflict, LimitExceeded; with a
            store, EncodeError when something of the step can't be stored, and StoreError.
        """
    def create_steps(self, flow: str, steps: Iterable[Step], *, revision: int | None=None, author: Author | None=None) -> int:
        """Add steps in one revision, all or none, and return it. Errors as `create_step`."""
    def delete_step(self, flow: str, step: str | Step, *, revision: int | None=None, author: Author | None=None) -> int:
        """Remove a step from a flow, and return the new revision.

        Raises:
            UnknownFlow, UnknownStep, OutputConflict, RevisionConflict.
        """
    def replace_step(self, flow: str, old: str | Step, new: Step, *, revision: int | None=None, author: Author | None=None) -> int:
        """Put one step in the place of another, in one revision, and return it.

        Args:
            old: an id; or the Step as it was looked up, which must still be the registered one.

        Raises:
            as `create_step` and `delete_step`.
        """
    def predicate(self, name: str, function: Callable[[Any], bool]) -> None:
        """Register the callable behind ``when=name``; it is called on the loop, with the step's input value."""
    def bind(self, name: str, function: Callable[..., Any]) -> None:
        """Give local operations that came over the network, or from the store, their callable in this process."""
    def lookup(self, flow: str) -> list[Step]:
        """The steps of a flow, in the order of their registration. Raises `UnknownFlow`."""
    def unresolved(self, flow: str) -> dict[str, list[str]]:
        """Ids that steps name and nobody has registered yet -> the steps that name them. Raises `UnknownFlow`."""
    def changes(self, flow: str | None=None, *, since: int | None=None) -> Iterator[RevisionChange]:
        """Changes of one flow, or of all, from now on, without end; with ``since`` those after that revision first."""
    def past_changes(self, flow: str | None=None) -> list[RevisionChange]:
        """Every change so far, by flow and revision, as far as the store has them."""
    def on_change(self, listener: Callable[[RevisionChange], None]) -> Callable[[], None]:
        """Call ``listener``, which must be quick, with each change. Returns a callable that ends that."""
    def owners(self, flow: str) -> KnownMapping:
        """Step -> its owner, as far as one is known: at once, or, awaited, when the store has been read.

        Raises:
            UnknownFlow: there is no such flow, and no store that has not been read yet.
        """
    @property
    def ownership(self) -> Mapping[str, Mapping[str, str]]:
        """Flow -> step -> its owner: a live view of what this process knows."""
    def revision(self, flow: str) -> int:
        """Revision of a flow: the number of its changes; 0 for one that nobody registered."""
    def flows(self) -> KnownList:
        """Names of all flows, sorted: at once, or, awaited, when the store has been read."""
    def plan(self, flow: str, step: str | None=None) -> Plan:
        """The compiled plan of a flow's current revision. Errors as `Definition.plan`, and `UnknownFlow`."""
    def to_mermaid(self, flow: str, execution: Execution | None=None) -> str:
        """The flow as a Mermaid flowchart, coloured by the statuses of ``execution``."""
    def to_dot(self, flow: str, execution: Execution | None=None) -> str:
        """The flow as a Graphviz digraph."""
    def execute(self, flow: str | Sequence[Step], request: Any=b'', options: ExecuteOptions | None=None, **fields: Unpack[ExecuteFields]) -> Execution:
        """Execute a flow (by name, or a list of steps) and wait until it ends.

        Args:
            flow: a name, or steps.
            request: input of the first steps: bytes, or a value for local operations.
            options: an `ExecuteOptions`; or give its fields as keywords.

        Returns:
            the execution, which has succeeded; with ``async_=True`` its handle as soon as it has started.

        Raises:
            UnknownFlow, UnknownStep, UnresolvedSteps, MissingInput, ExecutionConflict, ExecutorStopped, InvalidOption:
            it was not started; StepFailed, ExecutionTimeout, ExecutionAborted, ExecutionStopped: it did not succeed,
            and its handle is ``error.execution``.
        """
    def call(self, flow: str | Sequence[Step], request: Any=b'', **fields: Unpack[ExecuteFields]) -> Any:
        """Execute a flow and return its result value. Errors as `execute`."""
    def execute_nested(self, flow: str, request: Any, step: str | None, caller: StepContext) -> Execution:
        """Execute a flow for a step of another execution, with an id of its own; for `StepContext.execute`."""
    def plan_of(self, flow: str, revision: int, step: str | None, steps: bytes | None) -> Plan:
        """The plan that a stored execution began with; for the executor.

        Args:
            steps: encoded, of an execution without a registered flow.
        """
    def missing(self, plan: Plan) -> list[str]:
        """What a plan needs and this process does not have, in words; for the executor."""
