"""flow-core: an embeddable workflow engine for Python services.

    from flow_core import Flow, Step, run

    async def main():
        async with Flow() as flow:
            await flow.create_step("greet", Step("hello", lambda name: f"hello {name}"))
            print(await flow.call("greet", "world"))

    run(main())

The public names are those of ``flow_core.__all__``.
"""

import typing as _typing

from flow_core import errors
from flow_core.errors import FlowError, Permanent
from flow_core.flow import Flow
from flow_core.model.explanation import Explanation, Reason
from flow_core.model.operation import LocalOperation, Operation
from flow_core.model.options import ExecuteOptions, ExecutorOptions, FlowOptions, OperationOptions, Retry
from flow_core.model.status import Status
from flow_core.model.step import ALL, REQUEST, Fallback, Step
from flow_core.model.transition import Transition
from flow_core.operations import ClientCallOperation, ClientPublishOperation, FlowExecuteOperation
from flow_core.runtime.context import StepContext
from flow_core.runtime.execution import Execution
from flow_core.runtime.executor import Executor
from flow_core.runtime.loop import run

if _typing.TYPE_CHECKING:
    from flow_core.client.remote_flow import RemoteFlow

__version__ = "0.1.0"

__all__ = [
    "ALL", "REQUEST", "ClientCallOperation", "ClientPublishOperation", "ExecuteOptions", "Execution", "Executor",
    "ExecutorOptions", "Explanation", "Fallback", "Flow", "FlowError", "FlowExecuteOperation", "FlowOptions",
    "LocalOperation", "Operation", "OperationOptions", "Permanent", "Reason", "Retry", "Status", "Step", "StepContext",
    "Transition", "connect", "errors", "get_include", "run",
]  # fmt: skip


def connect(
    url: str, *, service: str | None = None, key: str | None = None, tls: _typing.Any = None, **unknown: _typing.Never
) -> "RemoteFlow":
    """The flows of a server, as a `RemoteFlow`, with the methods of `Flow`. It connects with its first call::

        async with connect("grpc://127.0.0.1:50051") as flows:
            print(await flows.call("greet", "world"))

    Args:
        url: ``grpc://host:port``, ``grpcs://host:port`` (TLS), or ``unix:/path/of/socket``.
        service: name under which `RemoteFlow.serve` serves steps.
        key: API key.
        tls: whom to trust and what to show, with ``grpcs``: anything with ``pem()`` that gives (ca, key, cert) as PEM
            bytes or None, or the path of a PEM file of authorities.

    Raises:
        ImportError: grpcio is not installed.
        InvalidOption: the URL is wrong, or a key would travel in the clear.
    """
    from flow_core.client.remote_flow import RemoteFlow

    return RemoteFlow(url, service=service, key=key, tls=tls, **unknown)


def get_include() -> str:
    """Folder of the C++ headers, for those who ``cimport`` the core (as `numpy.get_include`)."""
    from pathlib import Path

    here = Path(__file__).parent
    packed = here / "include"
    return str(packed if packed.is_dir() else here.parent / "src")
