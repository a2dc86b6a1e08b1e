"""`Codec`, and those for bytes, JSON and protobuf messages.

No codec finds a class by a name in the data: the receiver says what it expects.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

from flow_core.errors import InvalidOption, PayloadError
from flow_core.model.payload import check_payload

__all__ = ["BytesCodec", "Codec", "JsonCodec", "ProtobufCodec"]

T = TypeVar("T")


class Codec(ABC, Generic[T]):
    """Turns values into payloads and back. Codecs hold no state of a message and may be shared by threads.

    Both methods raise `PayloadError`, which is never retried.

    Example::

        codec = AesGcmCodec(key, inner=JsonCodec())
        payload = codec.encode({"card": "4111"})
        order = codec.decode(payload)
    """

    #: MIME type of what `encode` gives.
    content_type: ClassVar[str] = "application/octet-stream"

    @abstractmethod
    def encode(self, value: T) -> bytes:
        """The payload for a value."""

    @abstractmethod
    def decode(self, data: bytes) -> T:
        """The value of a payload."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class BytesCodec(Codec[bytes]):
    """Leaves bytes as they are."""

    def encode(self, value: bytes) -> bytes:
        """``value``, when it is bytes within the limit."""
        return check_payload(value, "value")

    def decode(self, data: bytes) -> bytes:
        """``data``, when it is bytes within the limit."""
        return check_payload(data)


class JsonCodec(Codec[Any]):
    """JSON by orjson. Stricter than the engine: whatever is not JSON is an error, empty bytes included."""

    content_type = "application/json"

    def encode(self, value: Any) -> bytes:
        """JSON for what it can express: dataclasses, dates, UUIDs and NumPy arrays, too."""
        import orjson

        try:
            data = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY)
        except TypeError as error:
            raise PayloadError(f"a value of type {type(value).__name__} can't be written as JSON: {error}") from error
        return check_payload(data)

    def decode(self, data: bytes) -> Any:
        """The value of JSON."""
        import orjson

        check_payload(data)
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise PayloadError(f"{len(data)} bytes are not JSON: {error.msg}, at {error.pos}") from None


class ProtobufCodec(Codec[T]):
    """Messages of one protobuf type: ``ProtobufCodec(Order)``, a class that protoc generated.

    Raises:
        InvalidOption: ``message`` is no such class.
    """

    content_type = "application/x-protobuf"

    def __init__(self, message: type[T]) -> None:
        if not (isinstance(message, type) and hasattr(message, "FromString") and hasattr(message, "DESCRIPTOR")):
            raise InvalidOption(f"ProtobufCodec needs the class of a message, not {message!r:.80}")
        self._message: Any = message

    @property
    def name(self) -> str:
        """Full name of the message type, e.g. ``"shop.v1.Order"``."""
        return str(self._message.DESCRIPTOR.full_name)

    def encode(self, value: T) -> bytes:
        """The wire form of a message of this type."""
        from google.protobuf.message import EncodeError

        if not isinstance(value, self._message):
            raise PayloadError(f"not a message of type {self.name}: {type(value).__name__}")
        message: Any = value
        try:
            return check_payload(message.SerializeToString())
        except EncodeError as error:
            raise PayloadError(f"a message of type {self.name} can't be written: {error}") from error

    def decode(self, data: bytes) -> T:
        """The message of a wire form."""
        from google.protobuf.message import DecodeError

        check_payload(data)
        try:
            message: T = self._message.FromString(data)
        except DecodeError as error:
            raise PayloadError(f"{len(data)} bytes are no message of type {self.name}: {error}") from None
        return message

    def __repr__(self) -> str:
        return f"ProtobufCodec({self.name})"
