"""Codecs: what a payload means, for services and steps that agree on it. The engine itself writes values as JSON."""

from flow_core.codecs.base import BytesCodec, Codec, JsonCodec, ProtobufCodec

__all__ = ["BytesCodec", "Codec", "JsonCodec", "ProtobufCodec"]
