"""The wire form of steps and operations: the schema ``flow.proto``, the code generated from it, and the encoding.

Nothing is imported until it is used: protobuf costs as much import time as the rest of the package.
"""
