"""What flows, executors and handles have in common: in this process, on a server, or for threads.

    async def start_day(flow: FlowLike) -> None:  # a `Flow`, or the `RemoteFlow` of a server
        await flow.call("open-shop", {"day": 7})

There are three Protocols that every face keeps, and for each a smaller one of what only its own process can do. The
methods of `flow_core.blocking` are those of `Flow`, `Executor` and `Execution` without ``await``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Mapping
from types import TracebackType
from typing import Any, Protocol, Self, Unpack, runtime_checkable

from flow_core.model.explanation import Explanation
from flow_core.model.options import ExecuteFields, ExecuteOptions, ExecutorFields, FlowFields
from flow_core.model.records import Page
from flow_core.model.revisions import RevisionChange
from flow_core.model.status import Status
from flow_core.model.step import Step
from flow_core.model.transition import Transition

__all__ = ["ChangeLike", "ExecutionLike", "ExecutorLike", "FlowLike", "LocalExecution", "LocalExecutor", "LocalFlow"]


@runtime_checkable
class ExecutionLike(Protocol):
    """The handle of one execution. ``await`` it for its result; iterate over it for its transitions.

    What a handle in this process reads from memory besides (`LocalExecution`) is asked of the executor elsewhere:
    ``await flow.executor.result(execution.flow, execution.id, "charge")`` works everywhere.
    """

    @property
    def id(self) -> str:
        """Id of the execution."""

    @property
    def flow(self) -> str:
        """Name of the flow."""

    @property
    def status(self) -> Status:
        """Status of the execution; of a remote one, the status that the server last reported."""

    @property
    def over(self) -> bool:
        """Whether it has ended."""

    @property
    def error(self) -> BaseException | None:
        """The error that ended it; None while it runs, and when it succeeded."""

    @property
    def response(self) -> Any:
        """The result value; None while there is none."""

    def outcome(self) -> Any:
        """The result value; raises the error that ended it, and `IllegalMove` while it runs."""

    def __await__(self) -> Generator[Any, None, Any]: ...

    def __aiter__(self) -> AsyncIterator[Transition]:
        """Its transitions, past ones first, until it ends."""

    async def wait(self) -> Status:
        """Wait until it ends, however that is. Cancelling the wait does not abort it."""

    async def pause(self) -> None:
        """Stop starting new steps; running steps finish. Raises `IllegalMove` when it has ended."""

    async def resume(self) -> None:
        """Continue after a pause. Raises `IllegalMove` when it has ended."""

    async def abort(self, *, rollback: bool = False) -> None:
        """End it, with ``rollback`` after running its compensations. Returns when it has ended."""


@runtime_checkable
class ExecutorLike(Protocol):
    """Executions by flow and id. Ids are unique over all flows: ``flow=None`` skips the check that it is of that flow.

    All methods but `list` raise `UnknownExecution` for an id that nobody knows.
    """

    async def status(self, flow: str | None, id: str) -> Status:
        """Status of an execution."""

    async def result(self, flow: str | None, id: str, step: str) -> bytes:
        """Output of a step. Raises `UnknownStep`; `IllegalMove` when the step has not succeeded."""

    async def history(self, flow: str | None, id: str) -> list[Transition]:
        """What has happened to an execution so far."""

    async def explain(self, flow: str | None, id: str) -> Explanation:
        """What an execution waits for."""

    async def wait(self, flow: str | None, id: str) -> Status:
        """Wait until an execution ends, however that is."""

    async def ended(self, flow: str | None, id: str) -> ExecutionLike:
        """Wait until an execution ends, and return its handle."""

    async def pause(self, flow: str | None, id: str) -> None:
        """Stop starting new steps; running steps finish. Raises `IllegalMove` when it has ended."""

    async def resume(self, flow: str | None, id: str) -> None:
        """Continue after a pause. Raises `IllegalMove` when it has ended."""

    async def abort(self, flow: str | None, id: str, *, rollback: bool = False) -> None:
        """End an execution, with ``rollback`` after running its compensations."""

    async def restart(self, flow: str | None, id: str, step: str | None = None) -> ExecutionLike:
        """Execute the request of an execution that has ended again, as a new execution.

        Args:
            step: start here, with the recorded outputs of the steps that come before it.

        Raises:
            UnknownStep; IllegalMove: it has not ended; MissingInput: what ``step`` needs was not recorded.
        """

    async def list(
        self, flow: str | None = None, status: Status | None = None, *, since: float | None = None, limit: int = 100,
        cursor: str | None = None,
    ) -> Page:  # fmt: skip
        """Executions, newest first.

        Args:
            since: only those that started at this time or later, UTC seconds.
            limit: size of a page.
            cursor: `Page.cursor` of the page before.
        """


class ChangeLike(Protocol):
    """One change of a flow. In this process it is a `RevisionChange`, with whole steps; over a network their ids."""

    @property
    def flow(self) -> str:
        """Name of the flow."""

    @property
    def revision(self) -> int:
        """The revision that the change made."""

    @property
    def owner(self) -> str:
        """Who owns the steps that were added."""


@runtime_checkable
class FlowLike(Protocol):
    """Named flows and the executor that runs them; an async context manager."""

    @property
    def executor(self) -> ExecutorLike:
        """The executor: look up and control executions by id."""

    async def create_step(self, flow: str, step: Step, *, revision: int | None = None) -> int:
        """Add a step to a flow, and return the new revision. Errors as `create_steps`."""

    async def create_steps(self, flow: str, steps: Iterable[Step], *, revision: int | None = None) -> int:
        """Add steps in one revision, all or none, and return it. A flow is created with its first step.

        Args:
            revision: make the change only if the flow is at this revision (compare-and-set).

        Raises:
            InvalidId, InvalidStep, DuplicateStep, CycleError, OutputConflict, RevisionConflict, LimitExceeded.
        """

    async def delete_step(self, flow: str, step: str | Step, *, revision: int | None = None) -> int:
        """Remove a step, and return the new revision. Raises `UnknownFlow`, `UnknownStep`, `RevisionConflict`."""

    async def replace_step(self, flow: str, old: str | Step, new: Step, *, revision: int | None = None) -> int:
        """Put a step in the place of another, and return the new revision. Errors as `delete_step`, `create_steps`."""

    async def lookup(self, flow: str) -> list[Step]:
        """The steps of a flow, in the order of their registration. Raises `UnknownFlow`."""

    async def unresolved(self, flow: str) -> dict[str, list[str]]:
        """Ids that steps name and nobody has registered yet -> the steps that name them. Raises `UnknownFlow`."""

    def owners(self, flow: str) -> Awaitable[Mapping[str, str]]:
        """Step -> its owner, as far as one is known. Raises `UnknownFlow`."""

    async def revision(self, flow: str) -> int:
        """Revision of a flow: the number of its changes; 0 for one that nobody registered."""

    def flows(self) -> Awaitable[list[str]]:
        """Names of all flows, sorted."""

    def changes(self, flow: str | None = None, *, since: int | None = None) -> AsyncIterator[ChangeLike]:
        """Changes of one flow, or of all, without end; with ``since`` (and a flow) those after that revision first."""

    async def execute(
        self, flow: str, request: Any = b"", options: ExecuteOptions | None = None, **fields: Unpack[ExecuteFields]
    ) -> ExecutionLike:
        """Execute a flow and wait until it ends.

        Args:
            flow: its name.
            request: input of the first steps.
            options: an `ExecuteOptions`; or give its fields as keywords.

        Returns:
            the execution, which has succeeded; with ``async_=True`` its handle as soon as it has started.

        Raises:
            UnknownFlow, UnknownStep, UnresolvedSteps, MissingInput, ExecutionConflict, InvalidOption: it was not
            started; StepFailed, ExecutionTimeout, ExecutionAborted, ExecutionStopped: it did not succeed, and its
            handle is ``error.execution``.
        """

    async def call(self, flow: str, request: Any = b"", **fields: Unpack[ExecuteFields]) -> Any:
        """Execute a flow and return its result value. Errors as `execute`."""

    async def close(self) -> None:
        """Release what it holds; ``async with`` does so at its end."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class LocalExecution(ExecutionLike, Protocol):
    """What a handle reads from the memory of its own process, without waiting; over a network each is a question."""

    @property
    def revision(self) -> int:
        """Revision of the flow that it runs."""

    @property
    def recovered(self) -> tuple[str, ...]:
        """Ids of the steps whose fallback's output became theirs."""

    @property
    def errors(self) -> Mapping[str, BaseException]:
        """Last error of each step that failed at least once."""

    def result(self, step: str) -> bytes:
        """Output of a step."""

    def step_status_of(self, step: str) -> Status:
        """Status of a step."""

    def history(self) -> list[Transition]:
        """What has happened so far."""


class LocalExecutor(ExecutorLike, Protocol):
    """What an executor does only in its own process: its life, handles, and its store, which no service exposes."""

    async def init(self, **fields: Unpack[ExecutorFields]) -> None:
        """Change options."""

    async def stop(self, drain: float | None = None) -> None:
        """Refuse new executions, wait for running ones, and stop. A client must not stop a server's executor."""

    def find(self, flow: str | None, id: str) -> LocalExecution:
        """The handle of an execution of this process."""

    async def export(self, flow: str | None, id: str) -> bytes:
        """Everything the store has of an execution, as a JSON document."""

    async def recover(self) -> int:
        """Take over executions whose owner is gone."""

    def table(self) -> Any:
        """The status table, shared memory of this process."""


class LocalFlow(FlowLike, Protocol):
    """What a flow does only in its own process: with callables and options, which can't travel, and with its store."""

    async def init(self, **options: Unpack[FlowFields]) -> None:
        """Change options."""

    async def open(self) -> None:
        """Open the store, read its flows, and continue unfinished executions."""

    async def stop(self, drain: float | None = None) -> None:
        """Stop the executor, then close clients and store."""

    def bind(self, name: str, function: Callable[..., Any]) -> None:
        """Give local operations that came from elsewhere their callable."""

    def predicate(self, name: str, function: Callable[[Any], bool]) -> None:
        """Register the callable behind ``when=name``."""

    def on_change(self, listener: Callable[[RevisionChange], None]) -> Callable[[], None]:
        """Call ``listener`` with each change; returns what ends that."""

    async def past_changes(self, flow: str | None = None) -> list[RevisionChange]:
        """Every change so far; a server has its audit log instead."""

    def to_mermaid(self, flow: str) -> str:
        """A flow as a Mermaid flowchart. To draw a flow of a server, register its looked-up steps in a local one."""

    def to_dot(self, flow: str) -> str:
        """A flow as a Graphviz digraph."""
