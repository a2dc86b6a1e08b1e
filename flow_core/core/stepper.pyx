"""`Stepper`: a run moved by hand, and the engine's side of it.

The `Scheduler` moves runs from C, as long as everything goes plainly. What does not is decided in Python, by a machine
that holds a stepper; the handle that callers get has none of these methods, so that nobody can forge an outcome.
"""

from cpython.ref cimport Py_INCREF, PyObject
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

from flow_core.core.plan cimport JOIN_ANY
from flow_core.core.run cimport WAITS_FOR_RETRY, run_output, run_pop, run_push, run_succeed
from flow_core.core.status_table cimport (
    ABORTED, FAILURE, PENDING, RUNNING, SKIPPED, STATUS_COUNT, STOPPED, SUCCESS, status_load, status_move_byte,
    status_store,
)

from flow_core.core.run import NAMES
from flow_core.errors import InternalError


cdef object name_of(int status):
    """Of any number, for messages: `NAMES` is read without a check."""
    return NAMES[status] if 0 <= status < STATUS_COUNT else status


cdef class Stepper:
    """Moves a run by hand: `take` a ready step, say how it ended, until `finished`.

    Args:
        run: the run, or the handle of an execution.

    Example::

        stepper = Stepper(Run(plan, "request"))
        while (index := stepper.take()) is not None:
            stepper.succeed(index, call(index))
    """

    def __cinit__(self, Run run not None, *_, **__):
        self.run = run

    # --- moves of steps ---------------------------------------------------------------------------------------------

    def take(self):
        """Index of a ready step, now RUNNING; None when none is ready."""
        cdef uint32_t v
        self.run.fill(self.run.count)
        while self.run.queued:
            v = run_pop(self.run)
            if self.run.steps[v].status == PENDING:
                self.run.steps[v].status = RUNNING
                self.run.row.running += 1
                return v
        return None

    def succeed(self, index, object value=None):
        """A running step gave ``value``. Raises ValueError when it is not running."""
        cdef uint32_t v = self.run.index_of(index, RUNNING)
        self.run.steps[v].ended = self.run.now
        Py_INCREF(value)
        run_succeed(self.run, v, <PyObject*>value)

    def fail(self, index):
        """A running step failed for good."""
        self.run.end(self.run.index_of(index, RUNNING), FAILURE)

    def skip(self, index):
        """A step will not run: a condition said no."""
        self.run.end(self.run.index_of(index, -1), SKIPPED)

    def abandon(self, index, int status):
        """A running or pending step ends as ABORTED or STOPPED."""
        if status not in (ABORTED, STOPPED):
            raise ValueError(f"a step is abandoned as ABORTED or STOPPED, not {name_of(status)}")
        self.run.end(self.run.index_of(index, -1), <uint8_t>status)

    def retry(self, index):
        """An attempt of a running step failed and another follows: PENDING again, not queued until `requeue`."""
        cdef uint32_t v = self.run.index_of(index, RUNNING)
        if self.run.steps[v].retries < 0xFFFF - 1:
            self.run.steps[v].retries += 1
        self.run.steps[v].status, self.run.steps[v].parked_for = PENDING, WAITS_FOR_RETRY
        self.run.row.running -= 1

    def requeue(self, index):
        """A pending step that waited for its retry is ready again. Raises InternalError when it did not wait."""
        cdef uint32_t v = self.run.index_of(index, PENDING)
        if not self.run.steps[v].parked_for:     # the ring has one place a step
            raise InternalError(f"step {index} waits for no retry, or was queued twice")
        self.run.steps[v].parked_for = 0
        run_push(self.run, v)

    def drop_stale(self):
        """Take out of the queue what must not start from there: steps that were moved while they were queued."""
        cdef uint32_t v, _turn
        for _turn in range(self.run.queued):
            v = run_pop(self.run)
            if self.run.steps[v].status == PENDING and not self.run.steps[v].parked_for:
                run_push(self.run, v)

    def begin(self, index):
        """A pending step that is not queued runs now (its fate is decided without calling it)."""
        cdef uint32_t v = self.run.index_of(index, PENDING)
        self.run.steps[v].status, self.run.steps[v].parked_for = RUNNING, 0
        self.run.row.running += 1

    def abandon_all(self, int status):
        """Every step that has not ended does so now, as ABORTED or STOPPED. Outcomes that still come are late."""
        if status not in (ABORTED, STOPPED):
            raise ValueError(f"steps are abandoned as ABORTED or STOPPED, not {name_of(status)}")
        self.run.abandon_rest(<uint8_t>status)

    def fail_fast(self):
        """A step failed for good: what has not started is skipped, except ``join="done"`` steps (clean-ups)."""
        cdef Run run = self.run
        cdef uint32_t v
        run.fill(run.count)
        run.failing = True
        for v in range(run.count):
            if run.steps[v].status == PENDING and run.plan.specs[v].join <= JOIN_ANY and run.steps[v].retries == 0:
                run.end(v, SKIPPED)

    def recall(self, index, object value, long attempt=1, started=None, ended=None):
        """A step that has not run counts as succeeded with ``value``: its outcome is known from before.

        Args:
            attempt: number of the attempt that succeeded.
            started, ended: loop seconds; those of the run's start when None.
        """
        cdef uint32_t v = self.run.index_of(index, PENDING)
        cdef double begun = <double>self.run.row.started_ns * 1e-9
        Py_INCREF(value)
        run_output(self.run, v, <PyObject*>value)
        self.run.steps[v].status, self.run.steps[v].parked_for = SUCCESS, 0
        self.run.steps[v].retries = <uint16_t>max(0, min(attempt - 1, 0xFFFF - 1))
        self.run.row.succeeded += 1
        self.run.left -= 1
        self.run.steps[v].started = begun if started is None else started
        self.run.steps[v].ended = begun if ended is None else ended
        self.run.settle(v, True)

    def backdate(self, double started):
        """It began at this loop time, in another process perhaps."""
        self.run.row.started_ns = <int64_t>(started * 1e9)

    def ask(self, int intent):
        """Set what is asked of the execution; the scheduler reads it before each start. From any thread."""
        status_store(&self.run.row.intent, <uint8_t>intent)

    def move(self, int status):
        """Move the execution's own status. Raises ValueError when that is no legal move."""
        if not 0 <= status < STATUS_COUNT or not status_move_byte(&self.run.row.status, <uint8_t>status):
            raise ValueError(f"an execution can't go from {NAMES[self.run.row.status]} to {name_of(status)}")

    # --- steps, by index --------------------------------------------------------------------------------------------

    @property
    def finished(self):
        """Whether every step has ended. Those whose outcome is on its way to the store have."""
        return self.run.left == self.run.held

    def attempt(self, index):
        """Number of the step's current or last attempt, from 1."""
        return 1 + self.run.steps[self.run.index_of(index, -1)].retries

    def step_status(self, index):
        """Status number of a step."""
        return self.run.steps[self.run.index_of(index, -1)].status

    def statuses(self):
        """Status numbers of all steps, as bytes (a copy)."""
        cdef uint32_t v
        self.run.fill(self.run.count)
        return bytes([self.run.steps[v].status for v in range(self.run.count)])

    def times(self, index):
        """When a step last started and when it ended, loop seconds; None for what has not happened."""
        cdef uint32_t v = self.run.index_of(index, -1)
        cdef uint8_t s = self.run.steps[v].status
        began = self.run.steps[v].started if self.run.steps[v].started >= 0 else None
        return began, self.run.steps[v].ended if s != PENDING and s != RUNNING else None

    def output(self, index):
        """Output value of a step; None when it has none (yet)."""
        return self.run.output_of(self.run.index_of(index, -1))

    def has_output(self, index):
        """Whether a step has an output, which may be None."""
        return self.run._has_output(index)

    def input(self, index):
        """The input value of a step, as its source says. Raises `MissingInput`."""
        return self.run.input_of(self.run.index_of(index, -1))

    @property
    def intent(self):
        """What was asked for: an `Intent` number."""
        return self.run.row.intent

    @property
    def status_number(self):
        """Status number of the execution; from any thread."""
        return status_load(&self.run.row.status)

    @property
    def id_words(self):
        """The generated id as two 64-bit numbers."""
        return self.run.row.id_high, self.run.row.id_low

    @property
    def span(self):
        """(started, ended) of the execution, loop seconds; 0 for what has not happened."""
        return self.run.row.started_ns * 1e-9, self.run.row.ended_ns * 1e-9

    @property
    def counts(self):
        """See `Run.counts`."""
        return self.run.counts

    @property
    def busy(self):
        """Whether a coroutine or thread of it is under way."""
        return self.run.tasks is not NULL

    @property
    def ready_steps(self):
        """Indexes of the steps that wait in the queue for a slot or a turn."""
        n = self.run.count
        queue = [self.run.ready[(self.run.head + k) % n] for k in range(self.run.queued)]
        return [i for i in queue if self.run.steps[i].status == PENDING]

    def note(self, object move):
        """Keep a move that the run itself forgets."""
        if self.run.past is None:
            self.run.past = []
        self.run.past.append(move)

    def check(self):
        """Verify every invariant; raises AssertionError naming the broken one. For tests: O(steps + orders)."""
        self.run.check_all()

    # --- the execution ----------------------------------------------------------------------------------------------

    @property
    def options(self):
        """The execution's options, or None."""
        return self.run.options

    @options.setter
    def options(self, value):
        self.run.options = value

    @property
    def machine(self):
        """The policy of the execution, made when something is not plain; None until then."""
        return self.run.machine

    @machine.setter
    def machine(self, value):
        self.run.machine = value

    @property
    def name(self):
        """The id given by the caller; None when the generated one is its id."""
        return self.run.name

    @name.setter
    def name(self, value):
        self.run.name = value

    @property
    def parent(self):
        """The run of the step that started it."""
        return self.run.parent

    @parent.setter
    def parent(self, value):
        self.run.parent = value

    @property
    def caller(self):
        """The context of the step that started it."""
        return self.run.caller

    @caller.setter
    def caller(self, value):
        self.run.caller = value

    @property
    def past(self):
        """List of moves that the run itself forgets; None when there are none."""
        return self.run.past

    @past.setter
    def past(self, value):
        self.run.past = value

    @property
    def trace(self):
        """What hears of each of its steps, made at its start; None when nobody does."""
        return self.run.trace

    @trace.setter
    def trace(self, value):
        self.run.trace = value

    @property
    def events(self):
        """Set of events, one per iterator over its moves; None when nobody ever watched."""
        return self.run.events

    @events.setter
    def events(self, value):
        self.run.events = value

    @property
    def others(self):
        """Callers beside the first who asked for it by its id."""
        return self.run.others

    @others.setter
    def others(self, value):
        self.run.others = value

    @property
    def own_steps(self):
        """Encoded steps of a durable execution without a registered flow; None for others."""
        return self.run.own_steps

    @own_steps.setter
    def own_steps(self, value):
        self.run.own_steps = value

    @property
    def durable(self):
        """Whether what happens has to be committed before anything follows from it."""
        return self.run.durable

    @durable.setter
    def durable(self, value):
        self.run.durable = value

    @property
    def holds(self):
        """Moves of its machine that are on their way to the store: no step starts meanwhile."""
        return self.run.holds

    @holds.setter
    def holds(self, value):
        self.run.holds = value

    @property
    def watched(self):
        """Whether the handler hears when the run went on."""
        return self.run.watched

    @watched.setter
    def watched(self, value):
        self.run.watched = value

    @property
    def plan(self):
        """What it runs."""
        return self.run.plan

    @property
    def id(self):
        """Its id."""
        return self.run.id

    @property
    def request(self):
        """The input of the roots."""
        return self.run.request

    @property
    def scheduler(self):
        """Whose run it is; None when it is stepped by hand only."""
        return self.run.scheduler

    @property
    def depth(self):
        """How deep it is nested in others."""
        return self.run.depth

    @property
    def limit(self):
        """Most steps that run at the same time."""
        return self.run.limit

    @property
    def over(self):
        """Whether the execution is over."""
        return self.run.over

    @property
    def ending(self):
        """Whether its last outcomes and its end are on their way to the store."""
        return self.run.ending

    @property
    def held(self):
        """Steps whose outcome is on its way to the store."""
        return self.run.held

    @property
    def failing(self):
        """Whether a step failed for good: only ``join="done"`` steps start."""
        return self.run.failing
