"""`LocalOperation`, beside the other operations. It is defined in ``operation.py``, because `Step` wraps callables."""

from flow_core.operation import LocalOperation

__all__ = ["LocalOperation"]
