"""`Handler`: the interface through which the scheduler hands everything that is not plain to the engine above it."""


cdef class Handler:
    """What a `Scheduler` asks of the engine. The engine derives from it and overrides what its plans can bring about.

    Example::

        class Stubborn(Handler):
            def step_failed(self, run, index, error):
                stepper = Stepper(run)
                stepper.retry(index)
                stepper.requeue(index)
                scheduler.go_on(run)

    Attributes:
        step_held: called as ``step_held(run, index, value, attempt, started, ended, last)`` when a step of a durable
            execution gave ``value``, which counts from `Scheduler.release` on. With ``last`` nothing else is left: the
            execution's end is certain and can be written in the same commit. When it raises, because the value can't be
            written, the attempt has failed. None: there are no durable executions.
    """

    cpdef object step_started(self, Run run, uint32_t index):
        """A step with FLAG_POLICY starts an attempt. What it raises is the attempt's error."""
        raise NotImplementedError

    cpdef object step_succeeded(self, Run run, uint32_t index):
        """A step with FLAG_POLICY succeeded."""
        raise NotImplementedError

    cpdef object step_failed(self, Run run, uint32_t index, object error):
        """An attempt raised. The step is RUNNING until the handler moves it: it failed, is retried, or is abandoned."""
        raise NotImplementedError

    cpdef object activity_ended(self, Run run, uint32_t index, int activity, bint ok, object value):
        """A fallback or a compensation is over; ``value`` is what it returned or raised."""
        raise NotImplementedError

    cpdef object timeout_error(self, Run run, uint32_t index, object cause):
        """The error of an attempt whose time is over. ``cause`` is the CancelledError that ended it, or None."""
        raise NotImplementedError

    cpdef object submit(self, StepTask task, object function, tuple arguments):
        """Call ``function(*arguments)`` in a thread, then `Scheduler.post_outcome` with what came of it."""
        raise NotImplementedError

    cpdef object step_skipped(self, Run run, uint32_t index):
        """The condition of a step of a durable execution said no."""
        raise NotImplementedError

    cpdef object step_announced(self, Run run, uint32_t index, object value):
        """An at-most-once step of a durable execution is about to start: `Scheduler.start_activity` when that is
        committed."""
        raise NotImplementedError

    cpdef object changed(self, Run run):
        """A watched execution went on."""
        raise NotImplementedError

    cpdef object settled(self, Run run):
        """Every step has ended, not all of them plainly: the handler ends the execution, or starts compensations."""
        raise NotImplementedError

    cpdef object ended(self, Run run):
        """An execution is over. Asked for watched executions, and for all when `Scheduler.notify` is set."""
        raise NotImplementedError

    cpdef object timer(self, object key):
        """A timer rang that was set with `Scheduler.set_timer`."""
        raise NotImplementedError

    cpdef object client(self, Run run, str kind):
        """The client that operations call (``"rpc"``) or publish (``"pubsub"``) with."""
        raise NotImplementedError

    cpdef object deadline(self, Run run, uint32_t index, int activity):
        """Loop time at which what a step does is over, when more than the step itself can set one; None for never."""
        raise NotImplementedError
