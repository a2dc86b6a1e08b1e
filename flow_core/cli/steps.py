"""``flow-core step``: add, replace and remove steps while everything runs.

A file holds steps in the JSON form of ``flow.proto``: one, a list, or ``{"steps": [...]}``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from flow_core import ClientCallOperation, ClientPublishOperation, FlowExecuteOperation, Operation, Step
from flow_core.cli.codes import OK
from flow_core.cli.common import COMMON, Common, complete, read_json, server
from flow_core.cli.output import emit
from flow_core.cli.settings import duration
from flow_core.errors import DecodeError, InvalidOption

__all__ = ["register", "steps_of_file"]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Made:
    """The parts of a step, as options of a command."""

    service: Annotated[str | None, Parameter(help="it calls this service ...")] = None
    endpoint: Annotated[str | None, Parameter(help="... and this endpoint of it")] = None
    topic: Annotated[str | None, Parameter(help="or it publishes here")] = None
    reply: Annotated[bool, Parameter(negative="", help="... and waits for one reply")] = False
    run_flow: Annotated[str | None, Parameter(help="or it executes this flow")] = None
    after: Annotated[list[str] | None, Parameter(help="steps that it runs after", consume_multiple=True)] = None
    before: Annotated[list[str] | None, Parameter(help="steps that it runs before", consume_multiple=True)] = None
    input: Annotated[str | None, Parameter(help="name of the output that is its input")] = None
    output: Annotated[str | None, Parameter(help="name of its output; its id when left out")] = None
    retries: Annotated[int | None, Parameter(help="attempts after the first one")] = None
    attempt_timeout: Annotated[str | None, Parameter(help="time for an attempt: 30, 5m")] = None
    allow_fail: Annotated[bool, Parameter(negative="", help="the execution goes on when it fails")] = False
    manual: Annotated[bool, Parameter(negative="", help="Run only when started explicitly (exec --step).")] = False
    file: Annotated[Path | None, Parameter(help="steps as JSON, as in flow.proto, instead of the options above")] = None

    def steps(self, id: str | None) -> list[Step]:
        """The steps. Raises `InvalidOption`, `DecodeError`, and what `Step` raises."""
        if self.file is not None:
            if id is not None or self != Made(file=self.file):
                raise InvalidOption(
                    "--file holds the whole steps", fix="leave out the id and the other options of a step"
                )
            return steps_of_file(self.file)
        if id is None:
            raise InvalidOption("which step?", fix="give its id, or --file")
        timeout = None if self.attempt_timeout is None else duration(self.attempt_timeout, "--attempt-timeout")
        return [
            Step(
                id, self.operation(), after=self.after or (), before=self.before or (), input=self.input,
                output=self.output, retry=self.retries, timeout=timeout, allow_fail=self.allow_fail or None,
                manual=self.manual,
            )
        ]  # fmt: skip

    def operation(self) -> Operation:
        """What the step does. Raises `InvalidOption` unless it is exactly one thing."""
        kinds = [
            self.service is not None or self.endpoint is not None,
            self.topic is not None,
            self.run_flow is not None,
        ]
        if sum(kinds) != 1:
            raise InvalidOption(
                "a step does one thing", fix="give --service and --endpoint, or --topic, or --run-flow, or --file"
            )
        if self.topic is not None:
            return ClientPublishOperation(self.topic, reply=self.reply)
        if self.run_flow is not None:
            return FlowExecuteOperation(self.run_flow)
        if self.service is None or self.endpoint is None:
            raise InvalidOption("--service and --endpoint belong together", fix="give both")
        return ClientCallOperation(self.service, self.endpoint)


#: No option of a step.
MADE = Made()


def register(app: App) -> None:
    """Add the commands."""
    group = App(name="step", help="Change flows while everything runs.")
    group.command(add)
    group.command(replace)
    group.command(remove, name="rm")
    app.command(group)


Revision = Annotated[int | None, Parameter(help="only when the flow is at this revision")]


def add(
    flow: str, id: str | None = None, /, *, owner: str = "", revision: Revision = None, made: Made = MADE,
    common: Common = COMMON,
) -> int:  # fmt: skip
    """Add a step to a flow, or the steps of a file, all or none. Print the new revision.

    Args:
        flow: Flow name. Created with its first step.
        id: of the step.
        owner: Owner of the step (default: you). Only authors may name another one.
    """
    steps = made.steps(id)

    async def change() -> int:
        async with server(common) as remote:
            return await remote.create_steps(flow, steps, revision=revision, owner=owner)

    return _changed(flow, complete(change()), common)


def replace(
    flow: str, id: str, /, *, rename: str | None = None, revision: Revision = None, made: Made = MADE,
    common: Common = COMMON,
) -> int:  # fmt: skip
    """Put a step in the place of another. Print the new revision.

    Args:
        flow: its name.
        id: of the step that is replaced.
        rename: id of the new one; the same when left out.
    """
    steps = made.steps(None if made.file is not None else rename or id)
    if len(steps) != 1:
        raise InvalidOption(f"{made.file} holds {len(steps)} steps: one takes the place of one")

    async def change() -> int:
        async with server(common) as remote:
            return await remote.replace_step(flow, id, steps[0], revision=revision)

    return _changed(flow, complete(change()), common)


def remove(flow: str, id: str, /, *, revision: Revision = None, common: Common = COMMON) -> int:
    """Take a step out of a flow. Print the new revision.

    Args:
        flow: its name.
        id: of the step.
    """

    async def change() -> int:
        async with server(common) as remote:
            return await remote.delete_step(flow, id, revision=revision)

    return _changed(flow, complete(change()), common)


def _changed(flow: str, revision: int, common: Common) -> int:
    emit(common.json, {"flow": flow, "revision": revision}, lambda: print(revision))
    return OK


def steps_of_file(file: Path) -> list[Step]:
    """The steps in a file. Raises `InvalidOption` and `DecodeError`, naming the file and the place in it."""
    from google.protobuf.json_format import ParseDict, ParseError

    from flow_core.operations.registry import OperationRegistry
    from flow_core.proto import flow_pb2 as pb
    from flow_core.proto.encoding import decode_steps

    found: Any = read_json(f"@{file}", "--file")
    if isinstance(found, dict):
        found = found["steps"] if set(found) == {"steps"} else [found]
    if not isinstance(found, list) or not found:
        raise InvalidOption(f"{file} holds no steps", fix='write {"steps": [{"name": ..., "operation": ...}]}')
    message = pb.Steps()
    for index, entry in enumerate(found):
        try:
            if not isinstance(entry, dict):
                raise ParseError("a step is an object")
            ParseDict({"format": 1, **entry}, message.steps.add())
        except ParseError as error:
            raise InvalidOption(
                f"{file}, steps[{index}]: {error}", fix="the fields are those of Step in flow.proto"
            ) from None
    try:
        return decode_steps(message, OperationRegistry())
    except DecodeError as error:
        raise type(error)(f"{file}: {error.message}", fix=error.fix) from None
