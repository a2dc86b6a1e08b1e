"""The wire form of steps and operations.

Lives here: ``flow.proto`` (the schema, written for client authors in any language), the code generated from it
(``flow_pb2``), and ``encoding``, which turns steps into messages and back. Does not live here: the codec of payloads
(``codec.py``). Nothing is imported until it is used: protobuf costs as much import time as the rest of the package.
"""
