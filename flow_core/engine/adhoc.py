"""Plans of executions whose steps are given to ``execute`` itself and belong to no registered flow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from flow_core.core.plan import Plan
from flow_core.engine.bindings import Bindings
from flow_core.engine.definition import Definition
from flow_core.model.options import ExecuteOptions
from flow_core.model.step import Step, check_steps

if TYPE_CHECKING:
    from flow_core.proto.encoding import OperationDecoder

__all__ = ["own_plan", "restore_own_plan"]


def own_plan(
    steps: Sequence[Step], options: ExecuteOptions | None, bindings: Bindings
) -> tuple[Plan, Callable[[], bytes]]:
    """The plan of ``steps``, and a function that encodes them. Raises what registering them would."""
    definition = Definition(options.flow if options is not None and options.flow else "steps")
    checked = check_steps(steps)
    definition.create(checked)
    return definition.plan(bindings, options.step if options is not None else None), partial(_encoded, checked)


def _encoded(steps: Sequence[Step]) -> bytes:
    from flow_core.proto.encoding import encode_steps

    return encode_steps(steps).SerializeToString(deterministic=True)


def restore_own_plan(
    flow: str, steps: bytes, start: str | None, bindings: Bindings, registry: OperationDecoder
) -> Plan:
    """The plan of encoded steps. Raises `DecodeError`, `UnknownOperation`."""
    from flow_core.proto.encoding import decode_steps

    definition = Definition(flow)
    definition.create(decode_steps(steps, registry))
    return definition.plan(bindings, start, lenient=True)
