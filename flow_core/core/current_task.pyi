import asyncio

from flow_core.core.task import TaskScheduler

class CurrentTask:
    def __init__(self, scheduler: TaskScheduler, loop: asyncio.AbstractEventLoop) -> None: ...
