from flow_core.core.ready_queue import ReadyQueue
from flow_core.core.turns import Turns

class Slots:
    limit: int
    @property
    def running(self) -> int: ...
    @property
    def blocked(self) -> ReadyQueue: ...
    def __init__(self, turns: Turns, limit: int) -> None: ...
