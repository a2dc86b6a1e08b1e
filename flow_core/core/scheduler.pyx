"""`Scheduler`: the engine's hot path. Ready step -> call -> step its coroutine -> output -> successors, all in C.

A coroutine that finishes without suspending costs no task, no future and no turn of the loop. One that suspends keeps
the stand-in task it ran in, and the future it waits for calls that task back. Whatever is not plain (a failure, a
condition, a step with a policy, a thread) goes to the `Handler`, an object of floor 2.

In a durable execution nothing follows from the success of a step before its outcome has been committed. The step stays
RUNNING with its output in the run and the mark HELD; the handler gets the outcome to write, and calls `release` when it
is written. A million steps may be held at once: there is no object for any of them here. Moves that are not plain
success are gated by the handler: it counts `Run.holds` up and down, and no step starts meanwhile.

A ``tracer``, when there is one, is asked for the `trace` of each new run, which hears of its steps and of its end:

    run.trace = tracer.begin(run)               in the context of the caller, before the run has an id
    run.trace.enter(index, activity)            in the context of the step, just before it is called
    run.trace.ended()                           the execution is over
"""

import time as clocks
from asyncio import CancelledError, get_running_loop

cimport cython
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int32_t, int64_t, uint8_t

from flow_core.core.coroutine cimport (
    OUT_RAISED, OUT_RETURNED, OUT_WAITS, PYGEN_RETURN, PyIter_Send, PySendResult, called_or_error, coroutine_of,
    encoded, outcome_of, refuse_output, somebody_current,
)
from flow_core.core.counters cimport counter_bump
from flow_core.core.current_task cimport current_context, current_touched
from flow_core.core.future cimport EndFuture
from flow_core.core.plan cimport (
    FLAG_ONCE, FLAG_POLICY, FLAG_TIMEOUT, FLAG_WHEN, FROM_PREDECESSORS, FROM_REQUEST, KIND_COROUTINE, KIND_OPERATION,
    KIND_THREAD, Plan, StepSpec,
)
from flow_core.core.ready_queue cimport MAX_LANES, Ready
from flow_core.core.run cimport (
    FILL, FLOW_DEBUG, HELD, INTENT_ABORT, INTENT_RUN, run_output, run_pop, run_prefetch, run_succeed, verify,
)
from flow_core.core.status_table cimport (
    ABORTED, FAILURE, PAUSED, PENDING, RUNNING, SKIPPED, SUCCESS, StatusTable, status_move_byte, status_store,
)
from flow_core.core.task cimport ACTIVITY_ATTEMPT
from flow_core.core.task_list cimport link, unlink

from flow_core.errors import InternalError, InvalidStep

cdef extern from "Python.h":
    PyObject* PyObject_CallOneArg(PyObject* callable, PyObject* arg) noexcept
    bint PyCoro_CheckExact(PyObject* object) noexcept
    int PyContext_Enter(object) except -1
    int PyContext_Exit(object) except -1

cdef extern from *:
    """
    static PyObject* flow_new(PyObject* type) {
        static PyObject* none = NULL;
        if (!none && !(none = PyTuple_New(0))) return NULL;
        return ((PyTypeObject*)type)->tp_new((PyTypeObject*)type, none, NULL);
    }
    """
    object flow_new(object type)

cdef extern from *:
    """
    #include "flow_core/ring.hpp"
    static int flow_visit(flow::Ready* ready, visitproc visit, void* arg) {
        for (uint32_t k = 0; k < flow::MAX_LANES; k++) {
            flow::Ring* lane = &ready->lane[k];
            for (uint64_t i = lane->head; i != lane->tail; i++) {
                PyObject* item = (PyObject*)(lane->slot[i & lane->mask] & ~(uint64_t)1);
                Py_VISIT(item);
            }
        }
        return 0;
    }
    """
    ctypedef int (*visitproc)(PyObject*, void*) noexcept
    ctypedef int (*traverseproc)(PyObject*, visitproc, void*) noexcept
    ctypedef int (*inquiry)(PyObject*) noexcept
    ctypedef struct PyTypeObject:
        traverseproc tp_traverse
        inquiry tp_clear
    int flow_visit(Ready* ready, visitproc visit, void* arg) noexcept

COUNTED = ("executions_started", "executions_ended", "steps_ended", "steps_suspended", "late_outcomes")

# Deeper nesting of steps that start executions goes through the queue: the C stack is not for recursion.
cdef enum:
    MOST_NESTED = 16

# A cancelled step may take this long (seconds) to clean up before its execution goes on without it.
cdef double GRACE = 1.0


cdef tuple call_of(Run run, uint32_t v, Activity activity):
    """(kind, arity, callable) for an attempt, a fallback or a compensation. Raises InvalidStep when there is none."""
    cdef StepSpec* spec = run.plan.specs + v
    if activity != ACTIVITY_ATTEMPT:
        return run.plan.policies[v].call_of(activity)
    if spec.call is NULL:
        raise InvalidStep(
            f"step {run.plan.items[v].id!r} of flow {run.plan.flow!r}: {run.plan.items[v].operation} has no callable",
            fix="bind its name to a callable in this process: flow.bind(name, function)",
        )
    return spec.kind, spec.arity, <object>spec.call


cdef int kind_of(Run run, uint32_t v, Activity activity) except -1:
    """The `Kind` of what was called."""
    return run.plan.specs[v].kind if activity == ACTIVITY_ATTEMPT else run.plan.policies[v].call_of(activity)[0]


@cython.final
cdef class Scheduler(TaskScheduler):
    """Drives the executions of one executor on one event loop.

    Args:
        loop: the event loop.
        table: rows for the executions.
        handler: decides whatever is not plain.
        run_type, context_type: the classes that are made for executions and for the contexts of operations.
        encode: ``encode(value) -> bytes`` for the inputs of operations.
        limit: most steps that run at the same time.
        keep: how many finished executions stay known.
        nonce: 32 random bits that make generated ids differ from those of other processes.
        clock: returns loop seconds; None for the machine's monotonic clock.
        wall: returns seconds since the epoch.
        budget: seconds of work in one turn of the loop.
    """

    def __cinit__(
        self, object loop not None, *, StatusTable table not None, Handler handler not None, object run_type=Run,
        object context_type=None, object encode=None, Py_ssize_t limit=10_000, Py_ssize_t keep=1000, object nonce=0,
        object clock=None, object wall=clocks.time, double budget=0.001,
    ):
        self.loop, self.handler = loop, handler
        self.run_type, self.context_type, self.encode = run_type, context_type, encode
        self.turns = Turns(loop, self._turn, self._posted, self._ring, clock, wall, budget)
        self.runs = RunTable(table, keep, nonce)
        self.slots = Slots(self.turns, limit)
        self.counters = Counters(COUNTED)
        self.cells = self.counters.cells
        self.currents = [CurrentTask(self, loop)]
        self.ends = []
        self.whole = True

    # --- executions -------------------------------------------------------------------------------------------------

    def start(self, plan, request, object options=None, Py_ssize_t limit=0, int lane=1, int depth=0):
        """Start an execution and drive it as far as it goes without waiting; returns its run."""
        cdef Run run = self.prepare(plan, request, options, limit, lane, depth)
        self.drive(run)
        return run

    def start_at_once(self, plan, request):
        """The same without options; None when `RunTable.bound` executions are live, or another loop runs."""
        at_once = self.runs.live < self.runs.bound and get_running_loop() is self.loop
        return self.start(plan, request) if at_once else None

    def launch(self, Run run not None):
        """Drive an execution that was prepared as far as it goes."""
        self.refuse_foreign(run)
        self.drive(run)

    cpdef Run prepare(
        self, plan, request, object options=None, Py_ssize_t limit=0, int lane=1, int depth=0, object name=None,
        object caller=None, object parent=None,
    ):
        """An execution that is not driven yet: `launch` does that."""
        if not self.turns.open:
            self.turns.enter()
        cdef Run run = self.new_run(plan, request, options, lane)
        if limit > 0:
            run.limit = <uint32_t>min(limit, 0xFFFFFFFF)
        run.depth, run.name, run.caller, run.parent = depth, name, caller, parent
        run.row.started_ns = <int64_t>(self.turns.now * 1e9)
        return run

    cdef Run new_run(self, object plan, object request, object options, int lane):
        """A run with its block, its row and its id; on any error nothing is left behind."""
        cdef Run run = <Run>flow_new(self.run_type)
        if not 0 <= lane < MAX_LANES:
            raise ValueError(f"no lane {lane}; there are {MAX_LANES}")
        run.prepare(<Plan?>plan, request)
        run.options, run.scheduler = options, self
        run.context = current_context(<CurrentTask>self.currents[0])
        if self.tracer is not None:
            run.trace = self.tracer.begin(run)
        self.runs.add(run, lane, self.turns.wall_ms())
        counter_bump(self.cells, EXECUTIONS_STARTED)
        return run

    cdef int refuse_foreign(self, Run run) except -1:
        if run.scheduler is not self:
            raise ValueError(f"{run!r} was not made by this scheduler")
        return 0

    def finish(self, Run run not None, int status, object failure=None):
        """End an execution. Nothing of it may be under way any more; late outcomes are dropped and counted."""
        self.refuse_foreign(run)
        self.turns.look()
        if run.row.status == PENDING and status in (SUCCESS, FAILURE):
            status_move_byte(&run.row.status, RUNNING)
        if not status_move_byte(&run.row.status, <uint8_t>status):
            raise InternalError(f"an execution can't go from {run.row.status} to {status}")
        run.row.ended_ns = <int64_t>(self.turns.now * 1e9)
        run.failure = failure
        ends, run.waiters, run.over = run.waiters, None, True
        counter_bump(self.cells, EXECUTIONS_ENDED)
        self.runs.retire(run)
        while run.tasks is not NULL:
            self.detach(<StepTask>run.tasks)
        self.runs.forget()
        if ends is not None:
            if self.telling:
                self.ends.extend(ends)
            else:
                for end in ends:
                    (<EndFuture>end).tell_later()
        if run.trace is not None:
            run.trace.ended()
        if self.notify or run.watched:
            self.handler.ended(run)

    def waiter(self, Run run not None):
        """A future that is done when the execution is over; None when it is over."""
        if run.over:
            return None
        waiter = EndFuture(self.loop)
        if run.waiters is None:
            run.waiters = [waiter]
        else:
            run.waiters.append(waiter)
        return waiter

    def go_on(self, Run run not None):
        """Drive a run again: it was resumed, or a step of it was requeued."""
        self.refuse_foreign(run)
        if not run.over:
            self.park(run)

    cdef int park(self, Run run) except -1:
        """The run goes on in the coming turn."""
        if not run.parked:
            self.turns.enqueue(run, 0, run.row.lane)
            run.parked = True
        return 0

    cdef int conclude(self, Run run) except -1:
        """Every step has ended: so does the execution, when nothing but plain success happened and nothing is left."""
        if run.tasks is NULL and not run.over and run.row.status != PAUSED:
            if run.machine is None and run.row.failed == 0 and not run.failing and (run.ending or not run.durable):
                self.finish(run, SUCCESS)
            else:
                self.handler.settled(run)
        return 0

    cdef int break_off(self, Run run, object error) except -1:
        """The handler raised, or memory ran out, amid a change: what is right is unknown, so the execution ends."""
        if not run.over:
            status_store(&run.row.intent, INTENT_ABORT)
            run.abandon_rest(ABORTED)
            self.cancel_tasks(run)
            self.finish(run, FAILURE, error)
        return 0

    def close(self):
        """Let go of the loop's timer."""
        self.turns.close()

    @property
    def time(self):
        """Loop time, seconds."""
        return self.turns.time

    @property
    def ahead(self):
        """UTC seconds minus loop seconds, as of now."""
        return self.turns.ahead

    @property
    def live(self):
        """How many executions are unfinished."""
        return self.runs.live

    @property
    def running(self):
        """How many slots are taken."""
        return self.slots.running

    @property
    def kept(self):
        """Finished executions that are remembered, the oldest first."""
        return self.runs.kept

    def lookup(self, size_t slot, unsigned int generation):
        """See `RunTable.lookup`."""
        return self.runs.lookup(slot, generation)

    def runs_known(self):
        """See `RunTable.known`."""
        return self.runs.known()

    # --- turns ------------------------------------------------------------------------------------------------------

    def _turn(self):
        """The loop's callback: take up what was queued before it, within the budget."""
        cdef Turns turns = self.turns
        cdef uint64_t word, left
        turns.begin()
        try:
            turns.queue.drain_c()
            self.slots.unblock()
            self.raise_fatal()                      # of a fallback or a compensation
            left = len(turns.queue)
            while left and not turns.spent and turns.queue.pop_c(&word):
                left -= 1
                item = <object>(<PyObject*><size_t>(word & ~<uint64_t>1))
                Py_DECREF(item)
                try:
                    self.work(item, word & 1)
                finally:
                    item = None                     # first: whoever waited for it may go on for long
                    self.worked()
                turns.tick()                        # after: a turn gets something done, however small its budget
        finally:
            turns.end()

    def _posted(self, item):
        try:
            self.work(item, 1)
        finally:
            self.worked()

    def _ring(self):
        cdef uint64_t token
        self.turns.begin_ringing()
        try:
            while self.turns.due(&token):
                self.fire(token)
        finally:
            self.turns.arm()

    cdef int work(self, object item, uint64_t tag) except -1:
        """A turn takes a run (tag 0) or a task up."""
        cdef StepTask task
        self.telling = True
        if tag == 0:
            (<Run>item).parked = False
            self.called = True
            try:
                return self.drive(<Run>item)
            finally:
                if self.slots.running < self.slots.limit and not self.slots.blocked.empty():
                    self.turns.open_next()          # it left a slot free, for whoever waits
        task = <StepTask?>item
        if task.coro is None:                       # a thread is done with it
            if not task.linked:                     # and its run went on without it
                counter_bump(self.cells, LATE_OUTCOMES)
                return 0
            ok, value = task.value
            return self.done(task, OUT_RETURNED if ok else OUT_RAISED, value)
        PyContext_Enter(task.context)
        try:
            task.resume(task.take_pending_error())
        finally:
            PyContext_Exit(task.context)
        return 0

    cdef int worked(self) except -1:
        """Let those go on whose executions ended in the callback of the loop that is about to return."""
        cdef list ends
        failed = None
        while self.ends:
            ends, self.ends = self.ends, []
            for end in ends:
                try:
                    (<EndFuture>end).tell()
                except BaseException as error:      # no memory: the others still hear of it
                    failed = failed or error
        self.telling = False
        if failed is not None:
            raise failed
        return 0

    cdef int raise_fatal(self) except -1:
        if self.fatal is not None:
            error, self.fatal = self.fatal, None
            raise error
        return 0

    def post_outcome(self, StepTask task not None, bint ok, object value):
        """From any thread: the function of a task returned (or raised) ``value``."""
        task.value = (ok, value)
        self.turns.post(task)

    def set_timer(self, double delay, uint64_t key):
        """After ``delay`` seconds the handler hears of ``key`` (below 2**62); returns a handle for `cancel_timer`."""
        self.turns.look()
        return self.turns.add_timer(delay, key << 1)

    def cancel_timer(self, long long handle):
        """Forget a timer; returns whether it was still to ring."""
        return self.turns.timers.cancel_c(handle)

    # --- driving ----------------------------------------------------------------------------------------------------

    cdef int drive(self, Run run) except -1:
        """Start what is ready, as far as limits and budget allow."""
        try:
            self.go_along(run)
        except BaseException as error:
            self.break_off(run, error)
            raise
        if FLOW_DEBUG:
            assert self.runs.live >= 0 and self.slots.running >= 0
            if run.count <= 64:
                run.check_all()
        return self.raise_fatal() if self.depth == 0 else 0

    cdef int go_along(self, Run run) except -1:
        cdef CurrentTask current
        cdef bint called = self.called              # the run waited for this turn
        self.called = False
        run.now = self.turns.now
        if run.queued and run.row.intent == INTENT_RUN and run.holds == 0 and not run.over:
            if self.turns.spent or self.depth >= MOST_NESTED:
                return self.park(run)
            if run.filled < run.count:
                run.fill(FILL)
                return self.park(run)
            if not called and not self.slots.blocked.empty():
                return self.slots.block(run)        # others have waited for a slot before it
            if run.row.status == PENDING:
                status_move_byte(&run.row.status, RUNNING)
            current = self.enter(run)
            try:
                self.drive_steps(run, current)
            finally:
                self.leave(current)
        if run.watched:
            self.handler.changed(run)
        if run.left == 0:
            self.conclude(run)
        return 0

    cdef CurrentTask enter(self, Run run):
        """The steps of ``run`` run from now on, until `leave`."""
        if self.depth == len(self.currents):
            self.currents.append(CurrentTask(self, self.loop))
        current = <CurrentTask>self.currents[self.depth]
        (<CurrentTask>current).enter(run)
        self.depth += 1
        return current

    cdef int leave(self, CurrentTask current) except -1:
        try:
            current.leave()
        finally:
            self.depth -= 1                         # last: what dies now may start another execution
        return 0

    cdef int drive_steps(self, Run run, CurrentTask current) except -1:
        cdef Plan plan = run.plan
        cdef Turns turns = self.turns
        cdef Slots slots = self.slots
        cdef StepSpec* spec
        cdef PyObject *argument
        cdef PyObject *coro
        cdef PyObject *out
        cdef PySendResult sent
        cdef int32_t source
        cdef uint32_t v
        cdef Py_ssize_t held = slots.running
        cdef bint traced = run.trace is not None
        while run.queued and run.row.intent == INTENT_RUN and run.holds == 0:
            if slots.running >= slots.limit:
                return slots.block(run)
            if slots.contended and slots.running > held:
                return self.park(run)               # a slot each, while several want one
            if run.row.running >= run.limit:
                return 0                            # it goes on when one of its own steps ends
            if turns.credit <= 0 and turns.out_of_budget():
                return self.park(run)
            if not current.entered:
                current.enter_again()
            turns.credit -= 1
            v = run_pop(run)
            if run.steps[v].status != PENDING:
                continue                            # skipped or abandoned while it was queued
            spec = plan.specs + v
            source = spec.source
            if spec.kind != KIND_COROUTINE or spec.flags or spec.arity != 1 or source < FROM_PREDECESSORS or traced:
                self.start_other(run, v, current)
                continue
            if source >= 0:
                argument = run.steps[source].output
                if argument is NULL:
                    argument = <PyObject*>None
            elif source == FROM_REQUEST:
                argument = <PyObject*>run.request
            else:
                gathered = plan.predecessors_input(v, run.steps)
                argument = <PyObject*>gathered
            slots.running += 1
            run.row.running += 1
            run.steps[v].status = RUNNING
            run.steps[v].started = turns.now
            run_prefetch(run, spec)
            coro = PyObject_CallOneArg(spec.call, argument)
            if coro is NULL or not PyCoro_CheckExact(coro):
                self.first_step(run, v, ACTIVITY_ATTEMPT, called_or_error(run, v, coro), current)
                continue
            current.task.index = v
            current.task.coro = <object>coro
            Py_DECREF(<object>coro)
            out = NULL
            sent = PyIter_Send(coro, <PyObject*>None, &out)
            if sent == PYGEN_RETURN and run.steps[v].status == RUNNING and not current_touched(current):
                slots.running -= 1
                counter_bump(self.cells, STEPS_ENDED)
                run.steps[v].ended = turns.now
                if not run.durable:
                    run_succeed(run, v, out)
                    continue
                value = <object>out
                Py_DECREF(value)
                self.hold(run, v, value)
            else:
                self.after_first(run, v, ACTIVITY_ATTEMPT, outcome_of(sent, &out), out, current)
        return 0

    # --- one step, in all its forms ---------------------------------------------------------------------------------

    cdef int start_other(self, Run run, uint32_t v, CurrentTask current) except -1:
        """Start a step that is not plain: conditions first, then its call with whatever arguments it takes."""
        cdef StepSpec* spec = run.plan.specs + v
        error = None
        self.turns.look()
        try:
            value = run.input_of(v)
            if spec.flags & FLAG_WHEN and not run.plan.policies[v].condition(value):
                run.end(v, SKIPPED)
                return 0 if not run.durable else self.handler.step_skipped(run, v) or 0
        except BaseException as raised:
            error = raised
        self.slots.take(run, v)
        run.row.running += 1
        run.steps[v].status = RUNNING
        run.steps[v].started = self.turns.now
        if error is None and spec.flags & FLAG_POLICY:
            try:
                self.handler.step_started(run, v)
            except BaseException as raised:
                error = raised
        if error is not None:
            return self.step_over(run, v, ACTIVITY_ATTEMPT, OUT_RAISED, error)
        if spec.flags & FLAG_ONCE and run.durable:
            self.slots.free(run, v)                 # until its start is committed: `start_activity` takes one again
            return self.handler.step_announced(run, v, value) or 0
        return self.call_step(run, v, ACTIVITY_ATTEMPT, value, current)

    cdef int call_step(self, Run run, uint32_t v, Activity activity, object value, CurrentTask current) except -1:
        """Call what is behind a step, or its fallback or compensation."""
        cdef StepTask task
        try:
            kind, arity, call = call_of(run, v, activity)
            if kind == KIND_OPERATION:
                value = encoded(value, self.encode)
            if arity == 2:
                arguments = (self.context_type(run, v, activity), value)
            else:
                arguments = () if arity == 0 else (value,)
            if run.trace is not None:
                run.trace.enter(v, activity)        # in the context that the call and its coroutine run in
            if kind == KIND_THREAD:
                task = self.new_task(run, v, activity)
                link(task)
                try:
                    self.handler.submit(task, call, arguments)
                except BaseException:
                    self.take_off(task)             # no thread will ever end it
                    raise
                return 0
            coro = coroutine_of(run, v, call(*arguments))
        except BaseException as error:
            return self.step_over(run, v, activity, OUT_RAISED, error)
        return self.first_step(run, v, activity, coro, current)

    cdef int first_step(self, Run run, uint32_t v, Activity activity, object coro, CurrentTask current) except -1:
        """Step a new coroutine for the first time, as the current task. ``coro`` may be the error of its call."""
        cdef PyObject* out = NULL
        cdef PySendResult sent
        if isinstance(coro, BaseException):
            return self.step_over(run, v, activity, OUT_RAISED, coro)
        current.task.index, current.task.coro, current.task.activity = v, coro, <uint8_t>activity
        sent = PyIter_Send(<PyObject*>coro, <PyObject*>None, &out)
        return self.after_first(run, v, activity, outcome_of(sent, &out), out, current)

    cdef int after_first(
        self, Run run, uint32_t v, Activity activity, Outcome outcome, PyObject* out, CurrentTask current
    ) except -1:
        """The coroutine's first step is over: the shared task becomes its own if it waits or was kept."""
        cdef bint kept = outcome == OUT_WAITS or current_touched(current)
        cdef StepTask task = current.task           # after the question: it counts references
        if kept:
            try:
                current.reserve()
                if outcome == OUT_WAITS:
                    self.set_deadline(run, v, activity, task)
            except BaseException as error:          # no memory, or no loop any more
                Py_DECREF(<object>out)
                task.give_up()
                return self.step_over(run, v, activity, OUT_RAISED, error)
            task.context = current.context
            if outcome == OUT_WAITS:
                link(task)
            outcome = task.after(outcome, &out)
            current.hand_over()
            if outcome != OUT_WAITS:
                current.enter_again()               # whoever hears of its end hears it in no step's context
            if outcome == OUT_WAITS and run.row.intent >= INTENT_ABORT:
                task.cancel()                       # it asked for its own end, or was there when somebody did
        if outcome == OUT_WAITS:
            counter_bump(self.cells, STEPS_SUSPENDED)
            return 0
        value = <object>out
        Py_DECREF(value)
        if kept:
            if task.linked:
                self.take_off(task)
            self.tell(task, outcome, value)
        return self.step_over(run, v, activity, outcome, value)

    cdef int step_over(self, Run run, uint32_t v, Activity activity, Outcome outcome, object value) except -1:
        """An attempt (or fallback, or compensation) is over."""
        cdef StepSpec* spec = run.plan.specs + v
        self.slots.free(run, v)
        if outcome == OUT_RAISED and isinstance(value, (KeyboardInterrupt, SystemExit)):
            self.fatal = value
        counter_bump(self.cells, STEPS_ENDED)
        if run.trace is not None:
            self.turns.look()                       # its times are exact, and not those of a batch
        if outcome == OUT_RETURNED and kind_of(run, v, activity) == KIND_OPERATION:
            refused = refuse_output(run, v, value)
            if refused is not None:
                outcome, value = OUT_RAISED, refused
        run.now = self.turns.now
        if activity != ACTIVITY_ATTEMPT:
            self.handler.activity_ended(run, v, activity, outcome == OUT_RETURNED, value)
            return 0
        if run.steps[v].status != RUNNING:
            counter_bump(self.cells, LATE_OUTCOMES)
            return 0
        run.steps[v].ended = self.turns.now
        if outcome == OUT_RAISED:
            self.handler.step_failed(run, v, value)
            return 0
        if run.durable:
            self.hold(run, v, value)
        else:
            Py_INCREF(value)
            run_succeed(run, v, <PyObject*>value)
        if spec.flags & FLAG_POLICY and (run.steps[v].status == SUCCESS or run.steps[v].parked_for == HELD):
            self.handler.step_succeeded(run, v)
        return 0

    def start_activity(self, Run run not None, uint32_t index, int activity, object value):
        """Start the fallback or the compensation of a step, or an attempt that was announced, with an input value."""
        cdef CurrentTask current
        self.refuse_foreign(run)
        run.index_of(index, -1)
        self.turns.enter()
        current = self.enter(run)
        try:
            self.slots.take(run, index)
            self.call_step(run, index, <Activity>activity, value, current)
        except BaseException as error:
            self.break_off(run, error)
            raise
        finally:
            self.leave(current)

    # --- tasks of steps that suspended, or that a thread works on ------------------------------------------------

    cdef StepTask new_task(self, Run run, uint32_t v, Activity activity):
        cdef StepTask task = StepTask.__new__(StepTask)
        task._loop, task.scheduler, task.run, task.index = self.loop, self, run, v
        task.activity, task.retrieved = <uint8_t>activity, True
        self.set_deadline(run, v, activity, task)
        return task

    cdef int set_deadline(self, Run run, uint32_t v, Activity activity, StepTask task) except -1:
        cdef double timeout
        if run.plan.specs[v].flags & FLAG_TIMEOUT and activity == ACTIVITY_ATTEMPT:
            timeout = run.plan.policies[v].timeout
            self.turns.look()
            task.timer = self.turns.add_timer(timeout, <uint64_t><size_t><PyObject*>task | 1)
        return 0

    cdef int take_off(self, StepTask task) except -1:
        """Take a task off its run's list; its deadline is void."""
        if not task.linked:
            return 0
        if task.timer >= 0:
            self.turns.timers.cancel_c(task.timer)
            task.timer = -1
        return unlink(task)

    cdef int soon(self, StepTask task, object error) except -1:
        task.pending_error = error
        return self.turns.enqueue(task, 1, 1 if task.run is None else task.run.row.lane)

    cdef int wake(self, StepTask task, object error) except -1:
        """A future that a task waits for is done, or somebody calls the task by hand."""
        if not (task.linked or task.detached):
            return 0                                # called by hand during its first step
        self.turns.enter()
        if self.telling or self.turns.turning or somebody_current(self.loop):
            return task.resume(error)
        self.telling = True
        try:
            return task.resume(error)
        finally:
            self.worked()

    cdef int done(self, StepTask task, Outcome outcome, object value) except -1:
        """The coroutine (or thread) of a task is over: so is what it did for its step; its run goes on."""
        cdef bint wanted = task.linked
        if task.lent:
            self.slots.reclaim(task)                # `step_over` frees it
        self.take_off(task)
        self.tell(task, outcome, value)
        if wanted:
            return self.end_task(task, outcome, value)
        counter_bump(self.cells, LATE_OUTCOMES)
        return 0

    cdef bint lend(self, StepTask task) except -1:
        return self.slots.lend(task)

    cdef int reclaim(self, StepTask task) except -1:
        return self.slots.reclaim(task)

    cdef int tell(self, StepTask task, Outcome outcome, object value) except -1:
        """Whoever waits for a task hears of its end; what is wrong with them is no matter of the step's."""
        try:
            task.finish(outcome, value)
        except BaseException as error:
            self.loop.call_exception_handler(
                {"message": "a callback of a step's task can't be called", "exception": error, "task": task}
            )
        return 0

    cdef int end_task(self, StepTask task, Outcome outcome, object value) except -1:
        """What a task did for its step is over; its run goes on. None as ``value`` of OUT_RAISED: a timeout."""
        cdef Run run = task.run
        if outcome == OUT_RAISED and task.expired and (value is None or isinstance(value, CancelledError)):
            try:
                value = self.handler.timeout_error(run, task.index, value)
            except BaseException as error:
                value = error
        try:
            self.step_over(run, task.index, <Activity>task.activity, outcome, value)
        except BaseException as error:
            self.break_off(run, error)
            raise
        return self.drive(run)

    def cancel_tasks(self, Run run not None):
        """Cancel every coroutine of a run that is under way; returns the tasks. Threads are only told (`detach`)."""
        cdef StepTask task
        cdef void* at = run.tasks
        found = []
        while at is not NULL:
            task = <StepTask>at
            at = task.older
            found.append(task)
        for task in found:
            if task.coro is not None:
                try:
                    task.cancel()
                except Exception as error:          # of a future that is not asyncio's; the others go on
                    self.loop.call_exception_handler(
                        {"message": "what a step waits for can't be cancelled", "exception": error, "task": task}
                    )
        return found

    def detach(self, StepTask task not None):
        """Go on without a task: its outcome will be dropped and counted."""
        if not task.linked:
            return False
        task.detached = True
        self.take_off(task)
        if task.lent:
            self.slots.reclaim(task)
        self.slots.free(task.run, task.index)
        return True

    def expire(self, Run run not None, uint32_t index):
        """The time of a step's running attempt is over, whatever its own deadline says."""
        cdef StepTask task
        cdef void* at = run.tasks
        while at is not NULL:
            task = <StepTask>at
            at = task.older
            if task.index == index and task.activity == ACTIVITY_ATTEMPT:
                if task.timer >= 0:
                    self.turns.timers.cancel_c(task.timer)
                self.turns.look()
                self.fire(<uint64_t><size_t><PyObject*>task | 1)
                return True
        return False

    cdef int fire(self, uint64_t token) except -1:
        """A deadline: of a task (bit 0 set: its address, valid because a task that ends cancels its timer) or a key."""
        cdef StepTask task
        if not token & 1:
            self.handler.timer(token >> 1)
            return 0
        task = <StepTask><PyObject*><size_t>(token - 1)
        task.timer = -1
        if task.coro is not None and not task.expired:
            task.expired = True
            task.timer = self.turns.add_timer(GRACE, token)
            task.cancel()
            return 0
        task.expired = True
        self.detach(task)
        self.slots.take(task.run, task.index)       # `detach` freed it, and `step_over` will do so again
        return self.end_task(task, OUT_RAISED, None)

    # --- outcomes of durable executions, which count when they have been committed ------------------------------------

    cdef int hold(self, Run run, uint32_t v, object value) except -1:
        """An attempt of a running step gave ``value``.

        When nothing else of a plain run is left, its end is certain and can be written in the same commit: the handler
        is told so. It raises when the value can't be written: the attempt has failed then.
        """
        cdef bint last
        verify(run.steps[v].status == RUNNING and run.steps[v].parked_for == 0)
        Py_INCREF(value)
        run_output(run, v, <PyObject*>value)
        run.steps[v].parked_for = HELD
        run.held += 1
        last = (
            run.held == run.left and run.machine is None and run.holds == 0 and run.row.failed == 0
            and run.row.intent == INTENT_RUN
        )
        try:
            self.handler.step_held(run, v, value, 1 + run.steps[v].retries, run.steps[v].started, self.turns.now, last)
        except BaseException as error:
            run.steps[v].parked_for = 0
            run.held -= 1
            run_output(run, v, NULL)
            self.handler.step_failed(run, v, error)
            return 0
        run.ending = last
        return 0

    def reserve(self, Run run not None, uint32_t index):
        """A step that was announced keeps its slot while that is on its way; `give_back` it before it starts."""
        self.refuse_foreign(run)
        self.slots.take(run, index)

    def give_back(self, Run run not None, uint32_t index):
        """The slot that `reserve` took is free again."""
        self.refuse_foreign(run)
        self.slots.free(run, index)

    def release(self, list outcomes):
        """These outcomes are committed: the steps have succeeded, and their runs go on.

        Args:
            outcomes: run, index, run, index, ...

        Raises:
            the first of what the runs raise while they go on, when all of them have been released.
        """
        cdef Py_ssize_t at
        cdef uint32_t v
        cdef PyObject* value
        cdef Run run, before = None
        cdef object failed = None
        self.turns.open_next()
        for at in range(0, len(outcomes), 2):
            run, v = <Run?>outcomes[at], outcomes[at + 1]
            self.refuse_foreign(run)
            if run.over or v >= run.count or run.steps[v].parked_for != HELD:
                continue                            # it ended without its store: others go on with it
            if before is not None and before is not run:
                failed = self.drive_on(before, failed)
            before = run
            run.steps[v].parked_for = 0
            run.held -= 1
            value = run.steps[v].output
            run.steps[v].output = NULL
            run.now = self.turns.now
            run_succeed(run, v, value)
        if before is not None:
            failed = self.drive_on(before, failed)
        if failed is not None:
            raise failed

    cdef object drive_on(self, Run run, object failed):
        """Drive a run; returns the first error, because that of one run must not hold up the others."""
        try:
            self.drive(run)
        except BaseException as error:
            return error if failed is None else failed
        return failed


# --- for the garbage collector: queued work and live executions, which Cython's own traversal does not see. With them a
# scheduler that nobody knows any more, and whose loop is closed, is collected with everything that was under way. The
# parts keep what they have until then (`no_gc_clear`), and nobody but the scheduler holds them for long.

cdef traverseproc traverse_rest = (<PyTypeObject*>Scheduler).tp_traverse
cdef inquiry clear_rest = (<PyTypeObject*>Scheduler).tp_clear


cdef int _traverse(PyObject* me, visitproc visit, void* arg) noexcept:
    cdef size_t slot
    cdef PyObject* run
    cdef int stop = 0
    if not (<Scheduler>me).whole:                   # the collector may look while its constructor still runs
        return traverse_rest(me, visit, arg)
    stop = flow_visit((<Scheduler>me).turns.queue.ready, visit, arg)
    if stop == 0:
        stop = flow_visit((<Scheduler>me).slots.blocked.ready, visit, arg)
    for slot in range((<Scheduler>me).runs.capacity):
        run = (<Scheduler>me).runs.tenant(slot)
        if stop == 0 and run is not NULL and not (<Run>run).over:
            stop = visit(run, arg)
    return stop or traverse_rest(me, visit, arg)


cdef int _clear(PyObject* me) noexcept:
    cdef uint64_t word
    cdef size_t slot
    cdef PyObject* run
    if not (<Scheduler>me).whole:
        return clear_rest(me)
    while (<Scheduler>me).turns.queue.pop_c(&word):
        Py_DECREF(<object><PyObject*><size_t>(word & ~<uint64_t>1))
    while (<Scheduler>me).slots.blocked.pop_c(&word):
        Py_DECREF(<object><PyObject*><size_t>word)
    for slot in range((<Scheduler>me).runs.capacity):
        run = (<Scheduler>me).runs.tenant(slot)
        if run is not NULL and not (<Run>run).over:
            (<Run>run).over = True
            Py_DECREF(<object>run)
    (<Scheduler>me).whole = False
    return clear_rest(me)


(<PyTypeObject*>Scheduler).tp_traverse, (<PyTypeObject*>Scheduler).tp_clear = _traverse, _clear
