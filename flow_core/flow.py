"""`Flow`: the manager. Named flows whose steps come and go while executions run."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Never, Self, Unpack

from flow_core.catalog.catalog import Catalog
from flow_core.catalog.diagram import to_dot, to_mermaid
from flow_core.core.plan import Plan
from flow_core.core.stepper import Stepper
from flow_core.engine.adhoc import restore_own_plan
from flow_core.errors import InvalidOption
from flow_core.model.known import KnownList, KnownMapping
from flow_core.model.options import (
    DEFAULT_EXECUTE_OPTIONS,
    Author,
    ExecuteFields,
    ExecuteOptions,
    FlowFields,
    FlowOptions,
    unknown_option,
)
from flow_core.model.step import Step
from flow_core.model.trace_context import trace_context
from flow_core.runtime.durable.write_ahead import insist
from flow_core.runtime.execution import Execution
from flow_core.runtime.executor import Executor
from flow_core.runtime.launcher import abandon, finish
from flow_core.runtime.loop import utc_now

if TYPE_CHECKING:
    from flow_core.model.revisions import RevisionChange
    from flow_core.model.store import Store
    from flow_core.operations.registry import OperationRegistry
    from flow_core.pubsub.base import PubSubClient
    from flow_core.rpc.base import RpcClient
    from flow_core.runtime.context import StepContext

__all__ = ["Flow"]


class Flow:
    """Named flows, and the executor that runs them. One per event loop; an async context manager::

        async with Flow(store="sqlite:///flow.db") as flow:
            await flow.create_step("greet", Step("hello", lambda name: f"hello {name}"))
            print(await flow.call("greet", "world"))

    `flow_core.connect` gives the flows of a server, and `flow_core.blocking.Flow` is for threads, with the same methods
    (`flow_core.model.interface.FlowLike`).

    Args:
        executor: an `Executor`; one with default options when None.
        store: where executions and flows are kept: ``"sqlite:///flow.db"``, ``"postgresql://..."``, or a
            `flow_core.stores.Store`, which the flow opens and leaves open: who makes a store closes it, and several
            flows may share one. None or ``"memory:"``: they live in this process.
        keep: how long the store keeps finished executions, see `FlowOptions`.
        rpc: the client that operations call with, its URL, or a mapping of services to URLs.
        pubsub: the client that operations publish with, or its URL.
        operations: registry of operation types, for decoding.
        context: your own values.
        options: a `FlowOptions` instead of executor, store, keep and context.
    """

    rpc: RpcClient | None
    pubsub: PubSubClient | None

    def __init__(
        self, *, executor: Executor | None = None, store: str | Store | None = None,
        keep: int | timedelta | None = None, rpc: str | Mapping[str, str | RpcClient] | RpcClient | None = None,
        pubsub: str | PubSubClient | None = None, operations: OperationRegistry | None = None,
        context: Mapping[str, Any] | None = None, options: FlowOptions | None = None, **unknown: Never,
    ) -> None:  # fmt: skip
        if unknown:
            raise unknown_option("Flow", unknown, Flow)
        options = options or FlowOptions()
        given: dict[str, Any] = {"executor": executor, "store": store, "keep": keep, "context": context}
        self._options = dataclasses.replace(options, **{k: v for k, v in given.items() if v is not None})
        self.rpc = self.pubsub = None
        if rpc is not None or pubsub is not None:
            from flow_core import urls

            self.rpc, self.pubsub = urls.rpc_client(rpc), urls.pubsub_client(pubsub)
        self._operations = operations
        self._catalog = Catalog(lambda: self.operations, self._rebound, self._utc)
        self._plans = self._catalog.plans
        self._store: Store | None = None
        self._opened: Any = None  # the option that it was made of
        self._opening: asyncio.Lock | None = None
        self._retaining: asyncio.Task[None] | None = None
        self._take_options()

    def _take_options(self) -> None:
        given_store = self._options.store
        if self._store is not None and given_store is not self._opened:
            raise InvalidOption("the flow has opened its store", fix="make another Flow for another store")
        if self._store is None:
            self._unopened, self._opened = None, given_store
            if given_store not in (None, "memory:"):
                from flow_core import urls

                self._unopened = urls.store(given_store)
        self._plans.clear()  # what was executed without a store went a shorter way
        given = self._options.executor
        if not (given is None or isinstance(given, Executor)):
            raise InvalidOption(f"executor must be an Executor or None, not {type(given).__name__}: {given!r:.80}")
        # Options may change more than once; the executor that was made for the first ones goes on.
        self._executor: Executor = given or getattr(self, "_executor", None) or Executor()
        if self._executor.options.flow is None:
            self._executor.adopt(self)

    # --- life ----------------------------------------------------------------------------------------------------

    async def init(self, **options: Unpack[FlowFields]) -> None:
        """Change options (executor, store, keep, context). Raises `InvalidOption` while executions are under way."""
        if self._executor.statistics().executions_live:
            raise InvalidOption("executions are under way", fix="init() before the first execute()")
        self._options = dataclasses.replace(self._options, **options)
        self._take_options()

    @property
    def options(self) -> FlowOptions:
        """The options in force."""
        return self._options

    @property
    def executor(self) -> Executor:
        """The executor: look up and control executions by id."""
        return self._executor

    @property
    def operations(self) -> OperationRegistry:
        """The operation types that this flow can decode."""
        if self._operations is None:
            from flow_core.operations.registry import OperationRegistry

            self._operations = OperationRegistry()
        return self._operations

    async def open(self) -> None:
        """Open the store, read its flows, and continue unfinished executions. Does nothing without a store.

        ``async with`` calls it, and so does the first method that needs the store.

        Raises:
            ForeignStore, StoreCorrupt, SchemaTooNew, StoreUnavailable: the store was not changed.
        """
        if self._unopened is None:
            return
        if self._opening is None:
            self._opening = asyncio.Lock()
        async with self._opening:
            store = self._unopened
            if store is None:
                return
            await store.open()
            try:
                owner = self._executor.options.name or socket.gethostname()
                await self._catalog.attach(store, owner)
                await self._executor.attach(store)
            except BaseException:
                if store is not self._opened:
                    await store.close()
                raise
            self._store, self._unopened = store, None
            if self._options.keep is not None:
                from flow_core.stores.retention import forget_old

                self._retaining = asyncio.get_running_loop().create_task(forget_old(store, self._options.keep))

    async def stop(self, drain: float | None = None) -> None:
        """Stop the executor (see `Executor.stop`), then close the clients, and the store if it was made from an url."""
        await self._executor.stop(drain)
        if self._retaining is not None:
            self._retaining.cancel()
            await asyncio.gather(self._retaining, return_exceptions=True)
        self._catalog.detach()
        if self._store is not None and self._store is not self._opened:  # a Store that was given is its maker's
            await self._store.close()
        for client in (self.rpc, self.pubsub):
            if client is not None:
                await client.close()

    async def close(self) -> None:
        """The same as `stop`."""
        await self.stop()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # --- registering ---------------------------------------------------------------------------------------------

    async def create_step(
        self, flow: str, step: Step, *, revision: int | None = None, author: Author | None = None
    ) -> int:
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
        return await self.create_steps(flow, (step,), revision=revision, author=author)

    async def create_steps(
        self, flow: str, steps: Iterable[Step], *, revision: int | None = None, author: Author | None = None
    ) -> int:
        """Add steps in one revision, all or none, and return it. Errors as `create_step`."""
        await self.open()
        return await self._catalog.create(flow, steps, revision, author)

    async def delete_step(
        self, flow: str, step: str | Step, *, revision: int | None = None, author: Author | None = None
    ) -> int:
        """Remove a step from a flow, and return the new revision.

        Raises:
            UnknownFlow, UnknownStep, OutputConflict, RevisionConflict.
        """
        await self.open()
        return await self._catalog.delete(flow, step, revision, author)

    async def replace_step(
        self, flow: str, old: str | Step, new: Step, *, revision: int | None = None, author: Author | None = None
    ) -> int:
        """Put one step in the place of another, in one revision, and return it.

        Args:
            old: an id; or the Step as it was looked up, which must still be the registered one.

        Raises:
            as `create_step` and `delete_step`.
        """
        await self.open()
        return await self._catalog.replace(flow, old, new, revision, author)

    def predicate(self, name: str, function: Callable[[Any], bool]) -> None:
        """Register the callable behind ``when=name``; it is called on the loop, with the step's input value."""
        self._catalog.predicate(name, function)

    def bind(self, name: str, function: Callable[..., Any]) -> None:
        """Give local operations that came over the network, or from the store, their callable in this process."""
        self._catalog.bind(name, function)

    def _utc(self) -> float:
        return utc_now(self._executor.options.environment)

    def _rebound(self) -> None:
        self._executor.rebound()

    # --- looking up ----------------------------------------------------------------------------------------------

    async def lookup(self, flow: str) -> list[Step]:
        """The steps of a flow, in the order of their registration. Raises `UnknownFlow`."""
        await self.open()
        return list(self._catalog.definition(flow))

    async def unresolved(self, flow: str) -> dict[str, list[str]]:
        """Ids that steps name and nobody has registered yet -> the steps that name them. Raises `UnknownFlow`."""
        await self.open()
        return self._catalog.definition(flow).unresolved()

    def changes(self, flow: str | None = None, *, since: int | None = None) -> AsyncIterator[RevisionChange]:
        """Changes of one flow, or of all, from now on, without end; with ``since`` those after that revision first."""
        return self._catalog.feed.stream(flow, since, self.past_changes)

    async def past_changes(self, flow: str | None = None) -> list[RevisionChange]:
        """Every change so far, by flow and revision, as far as the store has them."""
        await self.open()
        return await self._catalog.past(flow)

    def on_change(self, listener: Callable[[RevisionChange], None]) -> Callable[[], None]:
        """Call ``listener``, which must be quick, with each change. Returns a callable that ends that."""
        return self._catalog.feed.listen(listener)

    def owners(self, flow: str) -> KnownMapping:
        """Step -> its owner, as far as one is known: at once, or, awaited, when the store has been read.

        Raises:
            UnknownFlow: there is no such flow, and no store that has not been read yet.
        """

        async def read() -> dict[str, str]:
            await self.open()
            self._catalog.definition(flow)
            return dict(self._catalog.owners.get(flow, {}))

        if self._unopened is None:
            self._catalog.definition(flow)
        return KnownMapping(self._catalog.owners.get(flow, {}), read)

    @property
    def ownership(self) -> Mapping[str, Mapping[str, str]]:
        """Flow -> step -> its owner: a live view of what this process knows."""
        return MappingProxyType(self._catalog.owners)

    async def revision(self, flow: str) -> int:
        """Revision of a flow: the number of its changes; 0 for one that nobody registered."""
        await self.open()
        found = self._catalog.definitions.get(flow)
        return 0 if found is None else found.revision

    def flows(self) -> KnownList:
        """Names of all flows, sorted: at once, or, awaited, when the store has been read."""

        async def read() -> list[str]:
            await self.open()
            return sorted(self._catalog.definitions)

        return KnownList(sorted(self._catalog.definitions), read)

    def plan(self, flow: str, step: str | None = None) -> Plan:
        """The compiled plan of a flow's current revision. Errors as `Definition.plan`, and `UnknownFlow`."""
        return self._catalog.plan(flow, step)

    def to_mermaid(self, flow: str, execution: Execution | None = None) -> str:
        """The flow as a Mermaid flowchart, coloured by the statuses of ``execution``."""
        return to_mermaid(self._catalog.definition(flow), _statuses(execution))

    def to_dot(self, flow: str, execution: Execution | None = None) -> str:
        """The flow as a Graphviz digraph."""
        return to_dot(self._catalog.definition(flow), _statuses(execution))

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        charts = "\n\n".join(self.to_mermaid(name) for name in sorted(self._catalog.definitions))
        return {"text/plain": repr(self), "text/vnd.mermaid": charts}

    def __repr__(self) -> str:
        flows = ", ".join(f"{name} ({len(d)} steps)" for name, d in sorted(self._catalog.definitions.items())[:5])
        return f"<Flow {flows or 'empty'}>"

    # --- executing -----------------------------------------------------------------------------------------------

    async def execute(
        self, flow: str | Sequence[Step], request: Any = b"", options: ExecuteOptions | None = None,
        **fields: Unpack[ExecuteFields],
    ) -> Execution:  # fmt: skip
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
        async_, started = fields and fields.get("async_"), None
        if options is None and type(flow) is str and (not fields or fields.keys() == {"async_"}):  # the short way
            plan, start_at_once = self._plans.get(flow), self._executor.start_at_once
            if plan is not None and start_at_once is not None:
                started = start_at_once(plan, request)
        if started is None:
            if fields:
                options = dataclasses.replace(options or DEFAULT_EXECUTE_OPTIONS, **fields)
            started = await self._start(flow, request, options, None)
        if async_ or (options is not None and options.async_):
            return started
        if not started.over:
            try:  # as `finish` does, which would be another coroutine between the caller and the end
                await Stepper(started).scheduler.waiter(started)
            except asyncio.CancelledError:
                abandon(started)
                raise
        if started.error is None:
            return started
        raise started.error

    async def call(self, flow: str | Sequence[Step], request: Any = b"", **fields: Unpack[ExecuteFields]) -> Any:
        """Execute a flow and return its result value. Errors as `execute`."""
        return (await self.execute(flow, request, **fields)).response

    async def execute_nested(self, flow: str, request: Any, step: str | None, caller: StepContext) -> Execution:
        """Execute a flow for a step of another execution, with an id of its own; for `StepContext.execute`."""
        child = caller.child_id()
        kept = trace_context(caller.options)
        options = ExecuteOptions(step=step, id=child, context=kept) if kept or step or child else None
        execution = await insist(lambda: self._start(flow, request, options, caller))
        await finish(execution)
        return execution

    async def _start(
        self, flow: str | Sequence[Step], request: Any, options: ExecuteOptions | None, caller: StepContext | None
    ) -> Execution:
        if self._unopened is not None:
            await self.open()
        if caller is None:  # a child waits for no room: its parent, which waits for it, holds some
            await self._executor.admit()
        step = options.step if options is not None else None
        if not isinstance(flow, str):
            plan, encode = self._catalog.own_plan(flow, options)
            return await self._executor.start(plan, request, options, caller, encode)
        known = self._plans.get(flow) if step is None else None
        if known is not None:
            plan = known
        elif options is not None and options.unresolved == "wait":
            plan = await self._catalog.wait_for_plan(flow, step)
        else:
            plan = await self._catalog.plan_known(flow, step)
        return await self._executor.start(plan, request, options, caller)

    async def plan_of(self, flow: str, revision: int, step: str | None, steps: bytes | None) -> Plan:
        """The plan that a stored execution began with; for the executor.

        Args:
            steps: encoded, of an execution without a registered flow.
        """
        if steps is None:
            return await self._catalog.plan_at(flow, revision, step)
        return restore_own_plan(flow, steps, step, self._catalog.bindings, self.operations)

    def missing(self, plan: Plan) -> list[str]:
        """What a plan needs and this process does not have, in words; for the executor."""
        return self._catalog.bindings.missing(plan.flow, plan.items)


def _statuses(execution: Execution | None) -> dict[str, Any] | None:
    return None if execution is None else {step.id: execution.step_status_of(step.id) for step in execution.plan.items}
