"""`Scheduler`: the engine's hot path. Ready step -> call -> step its coroutine -> output -> successors, without leaving C.

A coroutine that finishes without suspending costs no task, no future and no turn of the loop. One that suspends keeps
the stand-in task it ran in, and the future it waits for calls that task back. Whatever is not plain — a failure, a
condition, a step with a policy, a thread — goes to the *handler*, an object of floor 2:

    handler.step_failed(run, index, error)      an attempt raised; the step is RUNNING until the handler decides
    handler.step_started(run, index), handler.step_succeeded(run, index)      steps with FLAG_POLICY
    handler.changed(run)                        a watched run went on
    handler.activity_ended(run, index, activity, ok, value)                   a fallback or a compensation is over
    handler.submit(task, function, arguments)   run this in the worker pool, then `post_outcome`
    handler.step_held(run, index, value, attempt, started, ended, last)       of a durable run, see `Gate`
    handler.step_skipped(run, index), handler.step_announced(run, index, value)      of a durable run
    handler.settled(run)                        every step ended, and not all of them plainly
    handler.ended(run)                          the execution is over
    handler.client(run, kind)                   -> what operations call ("rpc") or publish ("pubsub") with
    handler.deadline(run, index, activity)      -> loop time or None, when more than the step itself can set one
    handler.timer(key)                          a timer set with `set_timer` rang

Lives here: starting, stepping and ending steps; limits; the life of executions. Does not live here: when (`Pacer`),
going on after a wait (`Waker`), what a step sees (`Seat`), policies.
"""

from asyncio import get_running_loop

from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int32_t, uint8_t

from flow_core.core.calls cimport call_of, called_or_error, coroutine_of, encoded, kind_of, refuse_output
from flow_core.core.counters cimport counter_bump
from flow_core.core.run_table cimport LATE_OUTCOMES, STEPS_ENDED, STEPS_SUSPENDED
from flow_core.core.plan cimport (
    FLAG_ONCE, FLAG_POLICY, FLAG_WHEN, FROM_PREDECESSORS, FROM_REQUEST, KIND_COROUTINE, KIND_OPERATION, KIND_THREAD,
    Plan, StepSpec,
)
from flow_core.core.run cimport INTENT_ABORT, INTENT_RUN
from flow_core.core.slab cimport FILL, FLOW_DEBUG, HELD, run_pop, run_prefetch, run_succeed
from flow_core.core.current_task cimport current_context, seat_touched
from flow_core.core.status_table cimport PENDING, RUNNING, SUCCESS, status_move_byte
from flow_core.core.coroutine cimport (
    OUT_RAISED, OUT_RETURNED, OUT_WAITS, PYGEN_RETURN, PyIter_Send, PySendResult, outcome_of,
)
from flow_core.core.task cimport ACTIVITY_ATTEMPT

cdef extern from "Python.h":
    PyObject* PyObject_CallOneArg(PyObject* callable, PyObject* arg) noexcept
    bint PyCoro_CheckExact(PyObject* object) noexcept

# Deeper nesting of steps that start executions goes through the queue: the C stack is not for recursion.
cdef enum:
    MOST_SEATS = 16


cdef class Scheduler(Waker):
    """See the module.

    Args:
        loop, clock, wall, budget: see `Pacer`.
        table: rows for the executions.
        handler: see the module.
        run_type, context_type: the classes that are made for executions and for the contexts of operations.
        encode: ``encode(value) -> bytes`` for the inputs of operations.
        limit: most steps that run at the same time.
        keep: how many finished executions stay known.
        nonce: 32 random bits that make generated ids differ from those of other processes.
    """

    def __cinit__(self, object loop, *, object context_type=None, object encode=None, **_):
        self.context_type, self.encode = context_type, encode
        self.seats = [Seat(self)]

    cdef object context_of_caller(self):
        return current_context(<Seat>self.seats[0])

    def start(self, plan, request, object options=None, Py_ssize_t limit=0, int lane=1, int depth=0):
        """Start an execution and drive it as far as it goes without waiting; returns its run."""
        cdef Run run = self.prepare(plan, request, options, limit, lane, depth)
        self.drive(run)
        return run

    def start_at_once(self, plan, request):
        """The same without options; None when `bound` executions are live, or another loop runs."""
        return self.start(plan, request) if self.live < self.bound and get_running_loop() is self.loop else None

    def launch(self, Run run not None):
        """Drive an execution that was prepared as far as it goes."""
        self.refuse_foreign(run)
        self.drive(run)

    # --- driving ----------------------------------------------------------------------------------------------------

    cdef int drive(self, Run run) except -1:
        """Start what is ready, as far as limits and budget allow."""
        try:
            self.go_along(run)
        except BaseException as error:
            self.break_off(run, error)
            raise
        if FLOW_DEBUG:
            assert self.live >= 0 and self.running >= 0
            if run.count <= 64:
                run.check()
        return self.raise_fatal() if self.depth == 0 else 0

    cdef int go_along(self, Run run) except -1:
        cdef Seat seat
        cdef bint called = self.called
        self.called = False
        run.now = self.now
        if run.queued and run.row.intent == INTENT_RUN and run.holds == 0 and not run.over:
            if self.spent or self.depth >= MOST_SEATS:
                return self.park(run)
            if run.filled < run.count:
                run.fill(FILL)
                return self.park(run)
            if not called and not self.blocked.empty():
                return self.block(run)              # others have waited for a slot before it
            if run.row.status == PENDING:
                status_move_byte(&run.row.status, RUNNING)
            seat = self.sit_down(run)
            try:
                self.drive_steps(run, seat)
            finally:
                self.get_up(seat)
        if run.watched:
            self.handler.changed(run)
        if run.left == 0:
            self.conclude(run)
        return 0

    cdef Seat sit_down(self, Run run):
        if self.depth == len(self.seats):
            self.seats.append(Seat(self))
        seat = <Seat>self.seats[self.depth]
        (<Seat>seat).enter(run)
        self.depth += 1
        return seat

    cdef int get_up(self, Seat seat) except -1:
        try:
            seat.leave()
        finally:
            self.depth -= 1                         # last: what dies now may start another execution
        return 0

    cdef int drive_steps(self, Run run, Seat seat) except -1:
        cdef Plan plan = run.plan
        cdef StepSpec* spec
        cdef PyObject *argument
        cdef PyObject *coro
        cdef PyObject *out
        cdef PySendResult sent
        cdef int32_t source
        cdef uint32_t v
        cdef Py_ssize_t held = self.running
        cdef bint traced = run.trace is not None
        while run.queued and run.row.intent == INTENT_RUN and run.holds == 0:
            if self.running >= self.limit:
                return self.block(run)
            if self.contended and self.running > held:
                return self.park(run)               # a slot each, while several want one
            if run.row.running >= run.limit:
                return 0                            # it goes on when one of its own steps ends
            if self.credit <= 0 and self.out_of_budget():
                return self.park(run)
            if not seat.entered:
                seat.occupy()
            self.credit -= 1
            v = run_pop(run)
            if run.steps[v].status != PENDING:
                continue                            # skipped or abandoned while it was queued
            spec = plan.specs + v
            source = spec.source
            if spec.kind != KIND_COROUTINE or spec.flags or spec.arity != 1 or source < FROM_PREDECESSORS or traced:
                self.start_other(run, v, seat)
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
            self.running += 1
            run.row.running += 1
            run.steps[v].status = RUNNING
            run.steps[v].started = self.now
            run_prefetch(run, spec)
            coro = PyObject_CallOneArg(spec.call, argument)
            if coro is NULL or not PyCoro_CheckExact(coro):
                self.first_step(run, v, ACTIVITY_ATTEMPT, called_or_error(run, v, coro), seat)
                continue
            seat.task.index = v
            seat.task.coro = <object>coro
            Py_DECREF(<object>coro)
            out = NULL
            sent = PyIter_Send(coro, <PyObject*>None, &out)
            if sent == PYGEN_RETURN and run.steps[v].status == RUNNING and not seat_touched(seat):
                self.running -= 1
                counter_bump(self.cells, STEPS_ENDED)
                run.steps[v].ended = self.now
                if not run.durable:
                    run_succeed(run, v, out)
                    continue
                value = <object>out
                Py_DECREF(value)
                self.hold(run, v, value)
            else:
                self.after_first(run, v, ACTIVITY_ATTEMPT, outcome_of(sent, &out), out, seat)
        return 0

    # --- one step, in all its forms ---------------------------------------------------------------------------------

    cdef int start_other(self, Run run, uint32_t v, Seat seat) except -1:
        """Start a step that is not plain: conditions first, then its call with whatever arguments it takes."""
        cdef StepSpec* spec = run.plan.specs + v
        error = None
        self.look()
        try:
            value = run.input_of(v)
            if spec.flags & FLAG_WHEN and not run.plan.policies[v].condition(value):
                run.skip(v)
                return 0 if not run.durable else self.handler.step_skipped(run, v) or 0
        except BaseException as raised:
            error = raised
        self.take_slot(run, v)
        run.row.running += 1
        run.steps[v].status = RUNNING
        run.steps[v].started = self.now
        if error is None and spec.flags & FLAG_POLICY:
            try:
                self.handler.step_started(run, v)
            except BaseException as raised:
                error = raised
        if error is not None:
            return self.ended(run, v, ACTIVITY_ATTEMPT, OUT_RAISED, error)
        if spec.flags & FLAG_ONCE and run.durable:
            self.free_slot(run, v)                  # until its start is committed: `start_activity` takes one again
            return self.handler.step_announced(run, v, value) or 0
        return self.call_step(run, v, ACTIVITY_ATTEMPT, value, seat)

    cdef int call_step(self, Run run, uint32_t v, Activity activity, object value, Seat seat) except -1:
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
                self.link(task)
                try:
                    self.handler.submit(task, call, arguments)
                except BaseException:
                    self.unlink(task)               # no thread will ever end it
                    raise
                return 0
            coro = coroutine_of(run, v, call(*arguments))
        except BaseException as error:
            return self.ended(run, v, activity, OUT_RAISED, error)
        return self.first_step(run, v, activity, coro, seat)

    cdef int first_step(self, Run run, uint32_t v, Activity activity, object coro, Seat seat) except -1:
        """Step a new coroutine for the first time, in the seat. ``coro`` may be the error of its call."""
        cdef PyObject* out = NULL
        cdef PySendResult sent
        if isinstance(coro, BaseException):
            return self.ended(run, v, activity, OUT_RAISED, coro)
        seat.task.index, seat.task.coro, seat.task.activity = v, coro, <uint8_t>activity
        sent = PyIter_Send(<PyObject*>coro, <PyObject*>None, &out)
        return self.after_first(run, v, activity, outcome_of(sent, &out), out, seat)

    cdef int after_first(
        self, Run run, uint32_t v, Activity activity, Outcome outcome, PyObject* out, Seat seat
    ) except -1:
        """The coroutine's first step is over: the seat's task becomes its own if it waits or was kept."""
        cdef bint kept = outcome == OUT_WAITS or seat_touched(seat)
        cdef StepTask task = seat.task              # after the question: it counts references
        if kept:
            try:
                seat.reserve()
                if outcome == OUT_WAITS:
                    self.set_deadline(run, v, activity, task)
            except BaseException as error:          # no memory, or no loop any more
                Py_DECREF(<object>out)
                task.give_up()
                return self.ended(run, v, activity, OUT_RAISED, error)
            task.context = seat.context
            if outcome == OUT_WAITS:
                self.link(task)
            outcome = task.after(outcome, &out)
            seat.vacate()
            if outcome != OUT_WAITS:
                seat.occupy()                       # whoever hears of its end hears it in no step's context
            if outcome == OUT_WAITS and run.row.intent >= INTENT_ABORT:
                task.cancel()                       # it asked for its own end, or was there when somebody did
        if outcome == OUT_WAITS:
            counter_bump(self.cells, STEPS_SUSPENDED)
            return 0
        value = <object>out
        Py_DECREF(value)
        if kept:
            if task.linked:
                self.unlink(task)
            self.tell(task, outcome, value)
        return self.ended(run, v, activity, outcome, value)

    cdef int ended(self, Run run, uint32_t v, Activity activity, Outcome outcome, object value) except -1:
        """An attempt (or fallback, or compensation) is over."""
        cdef StepSpec* spec = run.plan.specs + v
        self.free_slot(run, v)
        if outcome == OUT_RAISED and isinstance(value, (KeyboardInterrupt, SystemExit)):
            self.fatal = value
        counter_bump(self.cells, STEPS_ENDED)
        if run.trace is not None:
            self.look()                             # its times are exact, and not those of a batch
        if outcome == OUT_RETURNED and kind_of(run, v, activity) == KIND_OPERATION:
            refused = refuse_output(run, v, value)
            if refused is not None:
                outcome, value = OUT_RAISED, refused
        run.now = self.now
        if activity != ACTIVITY_ATTEMPT:
            self.handler.activity_ended(run, v, activity, outcome == OUT_RETURNED, value)
            return 0
        if run.steps[v].status != RUNNING:
            counter_bump(self.cells, LATE_OUTCOMES)
            return 0
        run.steps[v].ended = self.now
        if outcome == OUT_RAISED:
            self.handler.step_failed(run, v, value)
            return 0
        if run.durable:
            self.hold(run, v, value)
        else:
            Py_INCREF(value)
            run_succeed(run, v, <PyObject*>value)
        if spec.flags & FLAG_POLICY and (run.steps[v].status == SUCCESS or run.steps[v].apart == HELD):
            self.handler.step_succeeded(run, v)
        return 0

    def start_activity(self, Run run not None, uint32_t index, int activity, object value):
        """Start the fallback or the compensation of a step, or an attempt that was announced, with an input value."""
        cdef Seat seat
        self.refuse_foreign(run)
        run.index_of(index, -1)
        self.enter_turn()
        seat = self.sit_down(run)
        try:
            self.take_slot(run, index)
            self.call_step(run, index, <Activity>activity, value, seat)
        except BaseException as error:
            self.break_off(run, error)
            raise
        finally:
            self.get_up(seat)

    def close(self):
        """Let go of the loop's timer."""
        self._close()
