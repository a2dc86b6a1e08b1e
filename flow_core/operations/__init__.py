"""The operations that come with flow-core, and the registry that finds them by type."""

from flow_core.model.operation import LocalOperation
from flow_core.operations.client_call import ClientCallOperation
from flow_core.operations.client_publish import ClientPublishOperation
from flow_core.operations.empty import EmptyOperation
from flow_core.operations.flow_execute import FlowExecuteOperation
from flow_core.operations.registry import OperationRegistry

__all__ = [
    "ClientCallOperation", "ClientPublishOperation", "EmptyOperation", "FlowExecuteOperation", "LocalOperation",
    "OperationRegistry",
]  # fmt: skip
