from flow_core.core.task import Scheduler

class Seat:
    def __init__(self, scheduler: Scheduler) -> None: ...
