"""Codecs: what a payload means, for services and steps that agree on it.

Lives here: ``base`` (the contract; bytes, JSON, protobuf) and ``aes`` (encryption, imported when it is used). Does not
live here: how the engine itself writes values (``flow_core/model/payload.py``).
"""

from flow_core.codecs.base import BytesCodec, Codec, JsonCodec, ProtobufCodec

__all__ = ["BytesCodec", "Codec", "JsonCodec", "ProtobufCodec"]
