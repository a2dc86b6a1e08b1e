"""`Flow`: the manager. Named flows whose steps come and go while executions run.

Lives here: the public face over the catalog, the executor (floor 2) and the store (floor 3), with the clients that
operations use. Does not live here: registering (``catalog.py``), how steps are checked and compiled (``engine/``), how
they run (``runtime/``, ``core/``).
"""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from flow_core.catalog.catalog import Catalog
from flow_core.catalog.diagram import to_dot, to_mermaid
from flow_core.core.plan import Plan
from flow_core.core.stepper import Stepper
from flow_core.engine.adhoc import restore_own_plan
from flow_core.errors import InvalidOption
from flow_core.model.options import Author, ExecuteFields, ExecuteOptions, FlowOptions
from flow_core.model.step import Step
from flow_core.model.trace_context import trace_context
from flow_core.runtime.durable.write_ahead import insist
from flow_core.runtime.execution import Execution
from flow_core.runtime.executor import Executor

if TYPE_CHECKING:
    from flow_core.model.revisions import RevisionChange
    from flow_core.model.store import Store
    from flow_core.operations.registry import OperationRegistry
    from flow_core.pubsub.base import PubSubClient
    from flow_core.rpc.base import RpcClient
    from flow_core.runtime.context import StepContext

__all__ = ["Flow"]


class Flow:
    """Named flows, and the executor that runs them. One per event loop; an async context manager.

    Args:
        executor: an `Executor`; one with default options when None.
        store: where executions and flows are kept: ``"sqlite:///flow.db"``, ``"postgresql://..."``, or a
            `flow_core.stores.Store`. None or ``"memory:"``: they live in this process.
        keep: how long the store keeps finished executions, see `FlowOptions`.
        rpc: what operations call with: a client, an url, or a mapping of services to urls.
        pubsub: what operations publish with: a client, or an url.
        operations: registry of operation types, for decoding.
        context: your own values.
        options: a `FlowOptions` instead of executor, store and context.
    """

    def __init__(
        self,
        *,
        executor: Executor | None = None,
        store: str | Store | None = None,
        keep: int | timedelta | None = None,
        rpc: str | Mapping[str, str | RpcClient] | RpcClient | None = None,
        pubsub: str | PubSubClient | None = None,
        operations: OperationRegistry | None = None,
        context: Mapping[str, Any] | None = None,
        options: FlowOptions | None = None,
    ) -> None:
        options = options or FlowOptions()
        given: dict[str, Any] = {"executor": executor, "store": store, "keep": keep, "context": context}
        self._options = dataclasses.replace(options, **{k: v for k, v in given.items() if v is not None})
        self.rpc: RpcClient | None = None
        self.pubsub: PubSubClient | None = None
        if rpc is not None or pubsub is not None:
            from flow_core import urls

            self.rpc, self.pubsub = urls.rpc_client(rpc), urls.pubsub_client(pubsub)
        self._operations = operations
        self._catalog = Catalog(lambda: self.operations, self._rebound)
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

    async def init(self, **options: Any) -> None:
        """Change options (executor, store, context). Raises `InvalidOption` while executions are under way."""
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
        """The executor: pause, resume, abort, status, result, list, explain by id."""
        return self._executor

    @property
    def operations(self) -> OperationRegistry:
        """The operation types this flow can decode."""
        if self._operations is None:
            from flow_core.operations.registry import OperationRegistry

            self._operations = OperationRegistry()
        return self._operations

    async def open(self) -> None:
        """Open the store, read the flows in it, and go on with what is unfinished there. Nothing without a store.

        The first method that needs it does this, and so does ``async with``.

        Raises:
            ForeignStore, StoreCorrupt, SchemaTooNew, StoreUnavailable: the store was not touched.
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
                await store.close()
                raise
            self._store, self._unopened = store, None
            if self._options.keep is not None:
                from flow_core.stores.retention import forget_old

                self._retaining = asyncio.get_running_loop().create_task(forget_old(store, self._options.keep))

    async def stop(self, drain: float | None = None) -> None:
        """Stop the executor (see `Executor.stop`), then close the clients and the store."""
        await self._executor.stop(drain)
        if self._retaining is not None:
            self._retaining.cancel()
            await asyncio.gather(self._retaining, return_exceptions=True)
        self._catalog.detach()
        if self._store is not None:
            await self._store.close()
        for client in (self.rpc, self.pubsub):
            if client is not None:
                await client.close()

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
        """Add a step to a flow, which comes into being with its first step. Returns the new revision.

        With a store: a step that is stored already, unchanged, makes no new revision; it gets its callables.

        Args:
            revision: the change is only made when the flow is at this revision (compare-and-set).
            author: whose step it is; None: this host's, with a store. With an author, a step that is there already,
                unchanged and of the same owner, makes no new revision.

        Raises:
            InvalidId, InvalidStep, DuplicateStep, CycleError, OutputConflict, RevisionConflict, LimitExceeded; with a
            store, EncodeError when something of the step can't be stored, and StoreError.
        """
        return await self.create_steps(flow, (step,), revision=revision, author=author)

    async def create_steps(
        self, flow: str, steps: Iterable[Step], *, revision: int | None = None, author: Author | None = None
    ) -> int:
        """Add many steps in one revision, all or none. Errors as `create_step`."""
        await self.open()
        return await self._catalog.create(flow, steps, revision, author)

    async def delete_step(
        self, flow: str, step: str | Step, *, revision: int | None = None, author: Author | None = None
    ) -> int:
        """Take a step out of a flow. Returns the new revision.

        Raises:
            UnknownFlow, UnknownStep, OutputConflict, RevisionConflict.
        """
        await self.open()
        return await self._catalog.delete(flow, step, revision, author)

    async def replace_step(
        self, flow: str, old: str | Step, new: Step, *, revision: int | None = None, author: Author | None = None
    ) -> int:
        """Put one step in the place of another, in one revision. Returns it.

        Args:
            old: an id; or the Step as looked up, which then must be the one registered still.

        Raises:
            as `create_step` and `delete_step`.
        """
        await self.open()
        return await self._catalog.replace(flow, old, new, revision, author)

    def predicate(self, name: str, function: Callable[[Any], bool]) -> None:
        """Register what ``when=name`` asks: called with the step's input value, on the loop."""
        self._catalog.predicate(name, function)

    def bind(self, name: str, function: Callable[..., Any]) -> None:
        """Give local operations that came over the wire, or from the store, their callable in this process."""
        self._catalog.bind(name, function)

    def _rebound(self) -> None:
        self._executor.rebound()

    # --- looking up ----------------------------------------------------------------------------------------------

    async def lookup(self, flow: str) -> list[Step]:
        """The steps of a flow, in the order of their registration. Raises `UnknownFlow`."""
        await self.open()
        return list(self._catalog.definition(flow))

    async def unresolved(self, flow: str) -> dict[str, list[str]]:
        """Ids that steps name and nobody registered yet -> the steps that name them."""
        await self.open()
        return self._catalog.definition(flow).unresolved()

    def changes(self, flow: str | None = None, *, since: int | None = None) -> AsyncIterator[RevisionChange]:
        """Changes of one flow or of all from now on, without end; with ``since`` the stored later ones come first."""
        return self._catalog.feed.stream(flow, since, self.past_changes)

    async def past_changes(self, flow: str | None = None) -> list[RevisionChange]:
        """Every change so far, by flow and revision, as far as a store has them."""
        await self.open()
        return await self._catalog.past(flow)

    def on_change(self, listener: Callable[[RevisionChange], None]) -> Callable[[], None]:
        """Call ``listener`` with each change as it is made; returns what ends that. It must be quick."""
        return self._catalog.feed.listen(listener)

    def owners(self, flow: str) -> Mapping[str, str]:
        """Step -> whose it is, as far as an author or a store told. Raises `UnknownFlow`."""
        self._catalog.definition(flow)
        return MappingProxyType(self._catalog.owners.get(flow, {}))

    async def revision(self, flow: str) -> int:
        """Revision of a flow: the number of changes so far; 0 for one that nobody registered."""
        await self.open()
        found = self._catalog.definitions.get(flow)
        return 0 if found is None else found.revision

    def flows(self) -> list[str]:
        """Names of all flows, sorted."""
        return sorted(self._catalog.definitions)

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
        charts = "\n\n".join(self.to_mermaid(name) for name in self.flows())
        return {"text/plain": repr(self), "text/vnd.mermaid": charts}

    def __repr__(self) -> str:
        flows = ", ".join(f"{name} ({len(d)} steps)" for name, d in sorted(self._catalog.definitions.items())[:5])
        return f"<Flow {flows or 'empty'}>"

    # --- executing -----------------------------------------------------------------------------------------------

    async def execute(
        self,
        flow: str | Sequence[Step],
        request: Any = b"",
        options: ExecuteOptions | None = None,
        **fields: Unpack[ExecuteFields],
    ) -> Execution:
        """Execute a flow (by name, or a list of steps) and wait for its end.

        Args:
            flow: a name, or steps.
            request: input of the roots: bytes, or a value for local operations.
            options: an `ExecuteOptions`; or give its fields as keywords.

        Returns:
            the execution, over; with ``async_=True`` its handle as soon as it has started.

        Raises:
            UnknownFlow, UnknownStep, UnresolvedSteps, MissingInput, ExecutionConflict, ExecutorStopped: before it
            starts; StepFailed, ExecutionTimeout, ExecutionAborted, ExecutionStopped: when it did not end well, with the
            handle in ``error.execution``.
        """
        executor = self._executor
        async_, started = fields and fields.get("async_"), None
        if options is None and type(flow) is str and (not fields or fields.keys() == {"async_"}):  # the short way
            plan = self._plans.get(flow)
            started = None if plan is None else executor.start_at_once(plan, request)
        if started is None:
            if fields:
                options = dataclasses.replace(options or ExecuteOptions(), **fields)
            started = await self._start(flow, request, options, None)
        if async_ or (options is not None and options.async_):
            return started
        if not started.over:
            try:
                await Stepper(started).scheduler.waiter(started)
            except asyncio.CancelledError:
                executor.abandon(started)
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
        await self._executor.finish(execution)
        return execution

    async def _start(
        self, flow: str | Sequence[Step], request: Any, options: ExecuteOptions | None, caller: StepContext | None
    ) -> Execution:
        await self.open()
        if caller is None:  # a child waits for no room: its parent, which waits for it, holds some
            await self._executor.admit()
        step = options.step if options is not None else None
        if not isinstance(flow, str):
            plan, encode = self._catalog.own_plan(flow, options)
            return await self._executor.begin(plan, request, options, caller, encode)
        if options is not None and options.unresolved == "wait":
            plan = await self._catalog.wait_for_plan(flow, step)
        else:
            plan = await self._catalog.plan_known(flow, step)
            if step is None and not plan.mappings and self._store is None:
                self._plans[flow] = plan
        return await self._executor.begin(plan, request, options, caller)

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
