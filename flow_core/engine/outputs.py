"""`Outputs`: which steps write which output; two steps may write the same one only if one runs after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import attrgetter

from flow_core.core.dynamic_graph import DynamicGraph
from flow_core.errors import OutputConflict
from flow_core.model.step import Step

__all__ = ["Outputs"]

_explicit = attrgetter("output")


class Outputs:
    """The writers of each output that a step names explicitly; any two of them have an order.

    A default output is the id of its step, so it has one writer until another step names it. Only then it is listed.

    Args:
        flow: its name, for errors.
        topology: knows the order; a step is declared there before it claims its output.
    """

    __slots__ = ("_flow", "_shared", "_topology", "_writers")

    def __init__(self, flow: str, topology: DynamicGraph) -> None:
        self._flow = flow
        self._topology = topology
        #: Output -> ids of its writers, each after the one before it.
        self._writers: dict[str, list[str]] = {}
        #: Outputs with more than one writer, which a change of the order can break.
        self._shared: set[str] = set()

    def claim(self, steps: Iterable[Step]) -> None:
        """Add the outputs of newly declared steps; all or none.

        Raises:
            OutputConflict: another step writes the same output, and neither runs after the other.
        """
        claimed = []
        try:
            for step in self._interesting(steps):
                self._claim(step)
                claimed.append(step)
        except OutputConflict:
            for step in claimed:
                self.release(step)
            raise

    def _interesting(self, steps: Iterable[Step]) -> Iterator[Step]:
        if not self._writers:
            # A default output that another step among them names is found by `_claim` from that other's side.
            return filter(_explicit, steps)
        return (step for step in steps if step.output is not None or step.id in self._writers)

    def _claim(self, step: Step) -> None:
        name = step.output_name
        writers = self._writers.get(name)
        if writers is None:
            writers = [name] if self._writes_own_name(name) else []
        if step.id != name or name not in writers:
            writers.insert(self._place(writers, step.id, name), step.id)
        self._writers[name] = writers
        if len(writers) > 1:
            self._shared.add(name)

    def _writes_own_name(self, name: str) -> bool:
        step: Step | None = self._topology.get(name)
        return step is not None and step.output_name == name

    def _place(self, writers: list[str], step: str, name: str) -> int:
        """The position of a step among the writers: by bisection, because any two of them are ordered."""
        low, high = 0, len(writers)
        while low < high:
            middle = (low + high) // 2
            other = writers[middle]
            if self._topology.reaches(other, step):
                low = middle + 1
            elif self._topology.reaches(step, other):
                high = middle
            else:
                raise OutputConflict(
                    f"steps {other!r} and {step!r} of flow {self._flow!r} both write output {name!r}, and no order "
                    "says which is last",
                    fix=f"order them (after=[{other!r}]), or give one another output=", flow=self._flow, step=step,
                )  # fmt: skip
        return low

    def release(self, step: Step) -> None:
        """Remove the outputs of a step."""
        name = step.output_name
        writers = self._writers.get(name)
        if writers is None:
            return
        writers.remove(step.id)
        if len(writers) < 2:
            self._shared.discard(name)
        if not writers or writers == [name]:
            del self._writers[name]

    def check(self) -> None:
        """Check again that the writers of each output are in order, after a step was removed.

        Raises:
            OutputConflict: as `claim`.
        """
        moved = {}
        for name in self._shared:
            writers = self._writers[name]
            if all(map(self._topology.reaches, writers, writers[1:])):
                continue
            moved[name] = again = list[str]()
            for step in writers:
                again.insert(self._place(again, step, name), step)
        self._writers.update(moved)
