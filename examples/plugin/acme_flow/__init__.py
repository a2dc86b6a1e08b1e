"""An example plug-in of flow-core: an operation type, a scheme of calls, and a scheme of stores.

``pip install ./examples/plugin`` is all that it takes: flow-core finds the entry points in ``pyproject.toml``.
"""
