"""`StoredExecution`: an execution that does not run in this process, as its records describe it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from flow_core.core.plan import Plan
from flow_core.engine.failures import restore_error, stored_verdict
from flow_core.errors import IllegalMove, InvalidOption, StoreCorrupt, UnknownStep, did_you_mean
from flow_core.model.options import ExecuteOptions
from flow_core.model.payload import decode_outcome, encode_value
from flow_core.model.projection import Projection
from flow_core.model.records import ExecutionStarted, Record
from flow_core.model.status import Status
from flow_core.model.transition import Transition
from flow_core.runtime.durable.recorder import read_options

__all__ = ["StoredExecution"]


class StoredExecution:
    """What a store knows of an execution: the reading half of `Execution`.

    Args:
        records: of one execution, its start first.
        plan: of its revision; None when it can't be compiled here: then there is no `response`.
    """

    def __init__(self, records: Sequence[Record], plan: Plan | None = None) -> None:
        start = records[0]
        if not isinstance(start, ExecutionStarted):
            raise StoreCorrupt("an execution without a start", execution=start.execution)
        self.start = start
        self._said = Projection(records)
        self.plan = plan
        self.id = start.execution
        self.flow = start.flow
        self.revision = start.revision
        self.options: ExecuteOptions
        self.options, json, self.depth, self.own_steps = read_options(start.options)
        self.request = decode_outcome(start.request, json)
        #: Step id -> its outcome.
        self.outcomes = self._said.outcomes
        self.end = self._said.end

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.end is not None

    @property
    def status(self) -> Status:
        """Status of the execution."""
        return self._said.status

    @property
    def error(self) -> BaseException | None:
        """What decided its end, None while it has not ended or when it succeeded."""
        if self.end is None or self.end.error is None:
            return None
        return stored_verdict(self.end.error, self.flow, self)

    failure = error

    @property
    def recovered(self) -> tuple[str, ...]:
        """Ids of the steps whose fallback's output became theirs."""
        return tuple(record.step for record in self.outcomes.values() if record.recovered)

    @property
    def errors(self) -> dict[str, BaseException]:
        """Last error of each step that failed at least once, and of compensations as ``step.compensation``."""
        return {name: restore_error(error) for name, error in self._said.errors.items()}

    # --- outputs ------------------------------------------------------------------------------------------------------

    def has_output(self, step: str) -> bool:
        """Whether a step succeeded."""
        outcome = self.outcomes.get(step)
        return outcome is not None and outcome.status == Status.SUCCESS

    def value(self, step: str) -> Any:
        """Output value of a step that succeeded."""
        outcome = self.outcomes[step]
        return decode_outcome(outcome.output, outcome.json)

    def result(self, step: str) -> bytes:
        """Output of a step as bytes. Raises `UnknownStep`, and `IllegalMove` when it has not succeeded."""
        if self.has_output(step):
            return encode_value(self.value(step), f"output of step {step!r}")
        if self.plan is not None:
            self.plan.index(step)
        elif step not in self.outcomes:
            near = did_you_mean(step, self.outcomes)
            raise UnknownStep(f"no outcome of a step {step!r} is recorded", fix=near, flow=self.flow, step=step)
        raise IllegalMove(
            f"step {step!r} of execution {self.id} has no output: it is {self.step_status_of(step).name}",
            flow=self.flow, execution=self, step=step,
        )  # fmt: skip

    def step_status_of(self, step: str) -> Status:
        """Status of a step, as far as it is recorded."""
        outcome = self.outcomes.get(step)
        return Status.PENDING if outcome is None else Status(outcome.status)

    @property
    def response(self) -> Any:
        """The result value, as `Execution.response`; None while there is none.

        Raises:
            InvalidOption: it succeeded, but its definition can't be read here.
        """
        if self.plan is None:
            if self.status is Status.SUCCESS:
                raise InvalidOption(
                    f"the result of execution {self.id} can't be told: its flow {self.flow!r} can't be read here in "
                    f"revision {self.revision}", fix="register its operation types", flow=self.flow, execution=self,
                )  # fmt: skip
            return None
        output, items = self.options.output, self.plan.items
        if output is not None:
            writers = [items[i].id for i in self.plan.writers(output)]
            return next((self.value(step) for step in reversed(writers) if self.has_output(step)), None)
        sinks = [items[sink] for sink in self.plan.sinks]
        if len(sinks) == 1:
            return self.value(sinks[0].id) if self.has_output(sinks[0].id) else None
        return {sink.output_name: self.value(sink.id) for sink in sinks if self.has_output(sink.id)}

    def outcome(self) -> Any:
        """The result value; raises what decided its end when it did not succeed, `IllegalMove` before its end."""
        if not self.over:
            raise IllegalMove(f"execution {self.id} is not over: it is {self.status.name}", execution=self)
        if self.error is not None:
            raise self.error
        return self.response

    def __await__(self) -> Generator[Any, None, Any]:
        return self.outcome()
        yield

    async def wait(self) -> Status:
        """The status it ended with. Raises `IllegalMove` when it has not ended: it is under way elsewhere."""
        if not self.over:
            raise IllegalMove(f"execution {self.id} is under way in another process", execution=self)
        return self.status

    # --- history ------------------------------------------------------------------------------------------------------

    def history(self) -> list[Transition]:
        """What has happened so far, in order of time: attempts and ends of steps, pauses, and the execution itself."""
        return self._said.transitions()

    def __repr__(self) -> str:
        return f"<StoredExecution {self.id} of {self.flow} {self.status.name}: {len(self.outcomes)} outcomes>"
