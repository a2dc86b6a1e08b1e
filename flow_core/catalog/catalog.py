"""`Catalog`: the flows by name. Registering, looking up, loading from a store.

What a change of a flow may do is decided in ``engine/definition.py``.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from flow_core.catalog import revisions
from flow_core.catalog.change_feed import ChangeFeed
from flow_core.core.plan import Plan
from flow_core.engine.adhoc import own_plan
from flow_core.engine.bindings import Bindings
from flow_core.engine.definition import Definition
from flow_core.errors import (
    Conflict,
    InvalidStep,
    PermissionDenied,
    StoreUnavailable,
    UnknownFlow,
    UnknownStep,
    UnresolvedSteps,
    did_you_mean,
)
from flow_core.model.ids import check_id
from flow_core.model.options import Author
from flow_core.model.revisions import Change, RevisionChange
from flow_core.model.step import Step, check_steps

if TYPE_CHECKING:
    from flow_core.model.options import ExecuteOptions
    from flow_core.model.store import Store
    from flow_core.proto.encoding import OperationDecoder

__all__ = ["Catalog"]

#: Seconds between two reads of the store for steps that callers wait for.
LOOK: Final = 1.0


class Catalog:
    """The flows by name, registered while everything runs, and kept in the store when there is one.

    With a store, a change is saved before listeners are told, so that a revision they know of outlasts a crash.
    If another process was first, its changes are read and this one is tried on top of them, so that two writers never
    lose an update. Registering a step that is stored already, unchanged, makes no revision; it gives the stored step
    its callables, which is what a service does when it starts again.

    Args:
        registry: gives the operation types that stored steps may have.
        rebound: called when callables became known that an execution may be waiting for.
        utc: seconds since the epoch, for the times of changes.
    """

    def __init__(
        self, registry: Callable[[], OperationDecoder], rebound: Callable[[], None], utc: Callable[[], float]
    ) -> None:
        self._registry = registry
        self._utc = utc
        self._rebound = rebound
        self.bindings: Final = Bindings()
        self.definitions: dict[str, Definition] = {}
        #: Name -> plan of the current revision that needs nothing from outside: the hot path's only look-up. Every
        #: change of its flow takes it out as soon as the change begins.
        self.plans: dict[str, Plan] = {}
        #: Name -> callers that wait for a change of the flow.
        self._waiters: dict[str, list[asyncio.Future[None]]] = {}
        self._store: Store | None = None
        self._owner = ""
        #: Flow -> step -> its owner, where an author or the store has named one.
        self.owners: dict[str, dict[str, str]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        #: Flows whose definition here may differ from the stored one: read again before the next use.
        self._stale: set[str] = set()
        #: Number of notifications about definitions, and for each flow that number when it was last read.
        self._news = 0
        self._read: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._unwatch: Callable[[], None] = lambda: None
        self._past = revisions.PastRevisions()
        self.feed: Final[ChangeFeed] = ChangeFeed()

    # --- the store ----------------------------------------------------------------------------------------------------

    async def attach(self, store: Store, owner: str) -> None:
        """Read all definitions from ``store`` and save further changes there as ``owner``'s.

        Raises:
            StoreError; DecodeError and UnknownOperation name the flow and the step that can't be read here; what
            registering raises, for steps that were registered before and are others in the store.
        """
        by_flow: dict[str, list[Any]] = {}
        for change in await store.definitions():
            by_flow.setdefault(change.flow, []).append(change)
        brought, self.definitions = self.definitions, {}
        self.plans.clear()
        self.owners.clear()
        self._store, self._owner = store, owner
        try:
            for flow, stored in by_flow.items():
                self._take_in(flow, stored)
            for flow, definition in brought.items():  # registered when there was no store yet
                await self.create(flow, definition)
        except BaseException:
            self._store, self.definitions = None, brought
            raise
        self._unwatch = store.watch(self._heard)

    def detach(self) -> None:
        """Stop watching the store."""
        self._unwatch()
        for task in self._tasks:
            task.cancel()

    def _heard(self, change: Change) -> None:
        """There may be new revisions: read them before the next use, and at once where callers wait."""
        if Change.DEFINITIONS in change:
            self._news += 1
            self.plans.clear()
            for flow in self._waiters:
                task = asyncio.get_running_loop().create_task(self.refresh(flow))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def refresh(self, flow: str) -> None:
        """Apply the changes of other processes, when there is a store."""
        if self._store is not None:
            news, definition = self._news, self.definitions.get(flow)
            known = 0 if definition is None or flow in self._stale else definition.revision
            self._take_in(flow, await self._store.definitions(flow, after=known))
            self._stale.discard(flow)
            self._read[flow] = news

    def _take_in(self, flow: str, stored: Sequence[Any]) -> None:
        if flow in self._stale:
            self.definitions.pop(flow, None)
            self.owners.pop(flow, None)
        definition = self._own(flow)
        applied = revisions.apply_changes(definition, self.owners.setdefault(flow, {}), stored, self._registry())
        if definition.revision:
            self.definitions[flow] = definition
        if applied or flow in self._stale:
            self._changed(flow)
        for change in applied:
            self.feed.tell(change)

    async def _make(self, flow: str, change: Callable[[Definition], RevisionChange | None]) -> int:
        """Apply a change, save it when there is a store, and tell listeners; returns the revision."""
        if self._store is None:
            definition = self._own(flow)
            made = change(definition)
            if made is not None:
                self.definitions[flow] = definition
                self._changed(flow)
                self.feed.tell(made)
            return definition.revision
        async with self._locks.setdefault(flow, asyncio.Lock()):
            self.plans.pop(flow, None)
            while True:
                if flow in self._stale:
                    await self.refresh(flow)
                definition = self._own(flow)
                made = change(definition)
                if made is None:
                    return definition.revision
                self.definitions[flow] = definition
                self._stale.add(flow)  # until it is known to be saved
                try:
                    await self._store.save_definition(flow, made.revision, revisions.encode(made), made.owner)
                except Conflict:
                    continue  # another process was first: try again on top of that change
                self._stale.discard(flow)
                self._changed(flow)
                self.feed.tell(made)
                return made.revision

    def _own(self, flow: str) -> Definition:
        """The definition of a flow, or a blank one. One without steps is falsy, but still a flow."""
        found = self.definitions.get(flow)
        return Definition(check_id(flow, "flow name")) if found is None else found

    def _is_fresh(self, flow: str) -> bool:
        """Whether the definition here is the stored one, as far as this process knows."""
        return flow not in self._stale and self._read.get(flow, 0) == self._news

    async def settled(self, flow: str) -> None:
        """Wait until no change of the flow is on its way to the store."""
        lock = self._locks.get(flow)
        if lock is not None and lock.locked():
            async with lock:
                pass
        if not self._is_fresh(flow):
            try:
                await self.refresh(flow)
            except StoreUnavailable:  # what is known here will do, when it is what was saved
                if flow in self._stale or flow not in self.definitions:
                    raise

    # --- registering --------------------------------------------------------------------------------------------------

    def author(self, owner: str | None = None, principal: str = "") -> Author:
        """The author of a change made now."""
        return Author(self._owner if owner is None else owner, principal, self._utc())

    async def create(
        self, flow: str, steps: Iterable[Step], revision: int | None = None, author: Author | None = None
    ) -> int:
        """Add steps in one revision, all or none; see `Flow.create_steps`."""
        steps = check_steps(steps, flow)
        by = self._author(author)

        def change(definition: Definition) -> RevisionChange | None:
            new, owners = steps, self.owners.setdefault(flow, {})
            if revision is None and by is not None:
                # Embedded, the owner is the host, whose name changes with each container: it says nothing then.
                mine = owners if by.principal else dict.fromkeys(owners, by.owner)
                new = tuple(
                    step for step in steps if definition.topology.get(step.id) != step or mine.get(step.id) != by.owner
                )
            self._refuse_unwritable(new)
            definition.create(new, revision)
            return self._noted(flow, definition, by, new) if new else None

        changed = await self._make(flow, change)
        self._learn(flow, steps, by)
        return changed

    async def delete(
        self, flow: str, step: str | Step, revision: int | None = None, author: Author | None = None
    ) -> int:
        """Remove a step; see `Flow.delete_step`."""
        name = step.id if isinstance(step, Step) else step
        by = self._author(author)

        def change(definition: Definition) -> RevisionChange:
            self.definition(flow)
            self._refuse_foreign(flow, name, by)
            definition.delete(step, revision)
            return self._noted(flow, definition, by, (), name)

        return await self._make(flow, change)

    async def replace(
        self, flow: str, old: str | Step, new: Step, revision: int | None = None, author: Author | None = None
    ) -> int:
        """Replace a step; see `Flow.replace_step`."""
        if type(new) is not Step:
            raise InvalidStep(f"a Step is needed, not {type(new).__name__}: {new!r:.80}", flow=flow)
        name = old.id if isinstance(old, Step) else old
        by = self._author(author)

        def change(definition: Definition) -> RevisionChange | None:
            self.definition(flow)
            self._refuse_foreign(flow, name, by)
            if by is not None and revision is None and name == new.id and definition.topology.get(name) == new:
                return None
            self._refuse_unwritable((new,))
            definition.replace(old, new, revision)
            return self._noted(flow, definition, by, (new,), name)

        changed = await self._make(flow, change)
        self._learn(flow, (new,), by)
        return changed

    def _author(self, author: Author | None) -> Author | None:
        """The author of a change made now; None when none is given and there is no store to keep it."""
        if author is not None or self._store is None:
            return author
        return Author(self._owner, "", self._utc())

    def _noted(
        self, flow: str, definition: Definition, by: Author | None, created: tuple[Step, ...], deleted: str = ""
    ) -> RevisionChange:
        """The change that was just made, with the owners of its steps."""
        owners = self.owners.setdefault(flow, {})
        if by is None:
            by = Author("")
        change = RevisionChange(
            flow, definition.revision, created, deleted, by.owner or owners.get(deleted, ""), by.principal, by.time_utc
        )
        if by.owner or deleted:
            revisions.note_owners(owners, change)
        return change

    def _refuse_foreign(self, flow: str, step: str, by: Author | None) -> None:
        """Raise when the author may not change a step because another owns it."""
        if by is not None and by.may_change is not None:
            owner = self.owners.get(flow, {}).get(step, "")
            if step in self.definition(flow).topology and not by.may_change(owner):
                raise PermissionDenied(
                    f"step {step!r} of flow {flow!r} belongs to {owner!r}, not to {by.principal!r}",
                    fix="its owner may change it, or an author", flow=flow, step=step,
                )  # fmt: skip

    def _refuse_unwritable(self, steps: tuple[Step, ...]) -> None:
        """Raise `EncodeError` for a step that the store can't hold, before anything has changed."""
        if self._store is not None and steps:
            revisions.encode(RevisionChange("", 0, steps))

    async def past(self, flow: str | None) -> list[RevisionChange]:
        """Every change of a flow (None: of all), as far as the store has them."""
        stored = [] if self._store is None else await self._store.definitions(flow)
        return [revisions.read(change, self._registry()) for change in stored]

    def predicate(self, name: str, function: Callable[[Any], bool]) -> None:
        """Register the callable behind ``when=name``."""
        if not callable(function):
            raise InvalidStep(f"predicate {name!r} must be callable, not {type(function).__name__}")
        if inspect.iscoroutinefunction(function):
            raise InvalidStep(f"predicate {name!r} is a coroutine function", fix="put what has to wait into a step")
        self.bindings.predicates[check_id(name, "predicate name")] = function
        self._bound()

    def bind(self, name: str, function: Callable[..., Any]) -> None:
        """Give local operations that came over the wire, or from a store, their callable in this process."""
        if not callable(function):
            raise InvalidStep(f"the callable bound to {name!r} is {type(function).__name__}, and can't be called")
        self.bindings.functions[name] = function
        self._bound()

    def _learn(self, flow: str, steps: Iterable[Step], by: Author | None) -> None:
        # Without a store or an author the definition has these very objects: the places would double its memory.
        if by is not None and self.bindings.learn(flow, steps):
            self._bound()

    def own_plan(self, steps: Sequence[Step], options: ExecuteOptions | None) -> tuple[Plan, Callable[[], bytes]]:
        """The plan of steps that belong to no registered flow, and a function that encodes them."""
        plan, encode = own_plan(steps, options, self.bindings)
        if self._store is not None and self.bindings.learn(plan.flow, plan.items):
            self._rebound()  # a stored execution of such steps may have waited for just these
        return plan, encode

    def _bound(self) -> None:
        self.bindings.version += 1
        for flow in self.definitions:
            self._changed(flow)
        self._rebound()

    def _changed(self, flow: str) -> None:
        self.plans.pop(flow, None)
        for waiter in self._waiters.pop(flow, ()):
            if not waiter.done():
                waiter.set_result(None)

    # --- looking up ---------------------------------------------------------------------------------------------------

    def definition(self, flow: str) -> Definition:
        """The definition of a flow. Raises `UnknownFlow`."""
        found = self.definitions.get(flow)
        if found is None:
            raise UnknownFlow(
                f"no flow {flow!r} is registered",
                fix=did_you_mean(flow, self.definitions) if isinstance(flow, str) else "a flow is named by a str",
                flow=flow,
            )
        return found

    def plan(self, flow: str, step: str | None) -> Plan:
        """The compiled plan of the current revision. Errors as `Definition.plan`, and `UnknownFlow`."""
        return self.definition(flow).plan(self.bindings, step)

    async def plan_known(self, flow: str, step: str | None) -> Plan:
        """As `plan`, but reads the store when something is missing here."""
        try:
            if self._store is not None:
                await self.settled(flow)
            plan = self.plan(flow, step)
            if step is None and not plan.mappings and (self._store is None or self._is_fresh(flow)):
                self.plans[flow] = plan
            return plan
        except (UnknownFlow, UnresolvedSteps, UnknownStep):
            if self._store is None:
                raise
            await self.refresh(flow)
            return self.plan(flow, step)

    async def wait_for_plan(self, flow: str, step: str | None) -> Plan:
        """Wait until all steps that the flow names are registered, and return the plan."""
        while True:
            try:
                return await self.plan_known(flow, step)
            except (UnresolvedSteps, UnknownFlow):
                waiter = asyncio.get_running_loop().create_future()
                waiting = self._waiters.setdefault(flow, [])
                waiting.append(waiter)
                # Other processes change the store without telling this one, so it is read from time to time.
                await asyncio.wait([waiter], timeout=None if self._store is None else LOOK)
                if waiter in waiting:
                    waiting.remove(waiter)

    async def plan_at(self, flow: str, revision: int, step: str | None) -> Plan:
        """The plan of a revision that an execution began with, whether or not its callables are known here.

        Raises:
            UnknownFlow: the store does not have that revision; DecodeError, UnknownOperation, StoreCorrupt.
        """
        if self._store is not None:
            await self.settled(flow)
        current = self.definitions.get(flow)
        if current is not None and current.revision == revision:
            return current.plan(self.bindings, step, lenient=True)
        past = await self._past.definition(flow, revision, self._store, self._registry)
        return past.plan(self.bindings, step, lenient=True)
