"""`Attempt`: what an operation can ask about the attempt it makes: identity, headers, time left and clients."""

from types import MappingProxyType

from libc.math cimport INFINITY

from flow_core.core.plan cimport FLAG_TIMEOUT
from flow_core.core.run cimport INTENT_ABORT, INTENT_STOP
from flow_core.core.task cimport ACTIVITY_ATTEMPT, ACTIVITY_COMPENSATION

# What the idempotency key of a fallback and of a compensation ends with, by activity.
cdef tuple KINDS = ("", ".fallback", ".compensation")

cdef object NOTHING = MappingProxyType({})


cdef class Attempt:
    """One attempt of one step.

    Attributes:
        run: the handle of the execution.
        activity: 0 an attempt, 1 the fallback, 2 the compensation.
        attempt: number of the attempt, from 1.
    """

    def __cinit__(self, Run run not None, index, int activity, *_):
        self.run, self.index, self.activity = run, run.index_of(index, -1), activity
        self.attempt = 1 + run.steps[self.index].retries

    @property
    def flow(self):
        """Name of the flow."""
        return self.run.plan.flow

    @property
    def execution(self):
        """Id of the execution."""
        return self.run.id

    @property
    def step(self):
        """Id of the step."""
        return self.run.plan.items[self.index].id

    @property
    def options(self):
        """The ``context`` given to ``execute``: your own values."""
        return NOTHING if self.run.options is None else self.run.options.context

    @property
    def handler(self):
        """That of the scheduler: of a context, what performs its commands."""
        return (<Scheduler?>self.run.scheduler).handler

    @property
    def rpc(self):
        """The client for calls: the execution's own, else the flow's. An execution keeps the one of its first call."""
        if self.run.rpc is None:
            self.run.rpc = (<Scheduler?>self.run.scheduler).handler.client(self.run, "rpc")
        return self.run.rpc

    @property
    def pubsub(self):
        """The client for messages: the execution's own, else the flow's."""
        return (<Scheduler?>self.run.scheduler).handler.client(self.run, "pubsub")

    @property
    def depth(self):
        """How deep the execution is nested in others; 0: not at all."""
        return self.run.depth

    @property
    def input(self):
        """Input value of the step (a compensation gets its output as argument, and finds the input here)."""
        return self.run.input_of(self.index)

    @property
    def cancelled(self):
        """Whether the outcome is no longer wanted: for threads, which can't be interrupted, to look at."""
        if self.revoked or self.run.over:
            return True
        ending = self.run.row.intent == INTENT_ABORT or self.run.row.intent == INTENT_STOP
        return ending and self.activity != ACTIVITY_COMPENSATION    # which runs because it ends

    def revoke(self):
        """The outcome is no longer wanted."""
        self.revoked = True

    @property
    def deadline(self):
        """Loop time at which the attempt is over, the earliest of step, operation and execution; None: never."""
        cdef double limit = self.limit(<Scheduler?>self.run.scheduler)
        return None if limit == INFINITY else limit

    def time_left(self):
        """Seconds until the deadline, at least 0; None when there is none."""
        cdef Scheduler scheduler = <Scheduler?>self.run.scheduler
        cdef double limit = self.limit(scheduler)
        if limit == INFINITY:
            return None
        scheduler.turns.look()
        return max(0.0, limit - scheduler.turns.now)

    cdef double limit(self, Scheduler scheduler) except? -1.0:
        """Loop time; infinity: never. Where only the step itself can set one the handler need not be asked."""
        cdef Run run = self.run
        if run.machine is not None or run.caller is not None:
            deadline = scheduler.handler.deadline(run, self.index, self.activity)
            return INFINITY if deadline is None else deadline
        if self.activity == ACTIVITY_ATTEMPT and run.plan.specs[self.index].flags & FLAG_TIMEOUT:
            return run.steps[self.index].started + <double>run.plan.policies[self.index].timeout
        return INFINITY

    def headers(self):
        """What every attempt carries to the outside. The idempotency key is the same for all attempts of the step."""
        execution, step = self.run.id, self.run.plan.items[self.index].id
        return {
            "flow-name": self.run.plan.flow,
            "flow-execution": execution,
            "flow-step": step,
            "flow-attempt": str(self.attempt),
            "flow-idempotency-key": f"{execution}/{step}{KINDS[self.activity]}",
        }

    def __repr__(self):
        return f"<{type(self).__name__} {self.flow}/{self.step} attempt {self.attempt}>"
