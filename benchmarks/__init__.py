"""Benchmarks: shapes of work x engines that can do it, measured side by side.

Here live the harness, the shapes, one file per peer and the single figures. Not part of the wheel, and nothing in
flow_core may import from here. `python -m benchmarks --help` is the way in; README.md tells how to read the tables.
"""
