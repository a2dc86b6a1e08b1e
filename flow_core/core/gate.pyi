from typing import Any

from flow_core.core.crew import Crew

class Gate(Crew):
    def release(self, outcomes: list[Any]) -> None: ...
