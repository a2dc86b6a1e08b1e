"""The command line: ``flow-core``, which is also ``python -m flow_core``.

It uses public names only, and nothing here is imported by ``import flow_core``.
"""
