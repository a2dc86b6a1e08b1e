"""flow-core: an embeddable workflow engine for Python services.

    from flow_core import Flow, Step, run

    async def main():
        async with Flow() as flow:
            await flow.create_step("greet", Step("hello", lambda name: f"hello {name}"))
            print(await flow.call("greet", "world"))

    run(main())

Lives here: the public names. Everything else is reached through them.
"""

from flow_core import errors
from flow_core.errors import FlowError, Permanent
from flow_core.flow import Flow
from flow_core.operation import LocalOperation, Operation
from flow_core.operations import ClientCallOperation, ClientPublishOperation, FlowExecuteOperation
from flow_core.options import ExecuteOptions, ExecutorOptions, Fallback, FlowOptions, OperationOptions, Retry
from flow_core.runtime.context import StepContext
from flow_core.runtime.execution import Execution
from flow_core.runtime.executor import Executor
from flow_core.runtime.loop import run
from flow_core.status import Status
from flow_core.step import ALL, REQUEST, Step

__version__ = "0.1.0"

__all__ = [
    "ALL",
    "REQUEST",
    "ClientCallOperation",
    "ClientPublishOperation",
    "ExecuteOptions",
    "Execution",
    "Executor",
    "ExecutorOptions",
    "Fallback",
    "Flow",
    "FlowError",
    "FlowExecuteOperation",
    "FlowOptions",
    "LocalOperation",
    "Operation",
    "OperationOptions",
    "Permanent",
    "Retry",
    "Status",
    "Step",
    "StepContext",
    "errors",
    "get_include",
    "run",
]


def get_include() -> str:
    """Folder of the C++ headers, for those who ``cimport`` the core (as `numpy.get_include`)."""
    from pathlib import Path

    here = Path(__file__).parent
    packed = here / "include"
    return str(packed if packed.is_dir() else here.parent / "src")
