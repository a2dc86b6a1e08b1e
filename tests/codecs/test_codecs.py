"""Codecs: values go there and back, and what is something else is refused with its reason."""

import datetime
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_core.codecs import BytesCodec, JsonCodec, ProtobufCodec
from flow_core.errors import InvalidOption, PayloadError
from flow_core.model.ids import MAX_PAYLOAD
from flow_core.proto import flow_pb2 as pb

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)  # fmt: skip


@given(values)
def test_json_goes_there_and_back(value):
    assert JsonCodec().decode(JsonCodec().encode(value)) == value


def test_json_knows_what_orjson_knows():
    value = {"at": datetime.date(2026, 1, 2), "id": uuid.UUID(int=7), 3: "three"}
    assert JsonCodec().encode(value) == b'{"at":"2026-01-02","id":"00000000-0000-0000-0000-000000000007","3":"three"}'


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"NaN", b"[1,]"])
def test_what_is_no_json_is_refused(data):
    with pytest.raises(PayloadError, match=rf"{len(data)} bytes are not JSON"):
        JsonCodec().decode(data)


@pytest.mark.parametrize("value", [object(), {1, 2}, b"x", 2**70, float])
def test_what_json_can_not_express_is_refused(value):
    with pytest.raises(PayloadError, match="can't be written as JSON"):
        JsonCodec().encode(value)


@given(st.binary())
def test_bytes_are_bytes(data):
    assert BytesCodec().encode(data) is data
    assert BytesCodec().decode(data) is data


MESSAGE = pb.Operation(type="x", name="y", options={"a": "b"})


def test_messages_go_there_and_back():
    codec = ProtobufCodec(pb.Operation)
    assert codec.decode(codec.encode(MESSAGE)) == MESSAGE
    assert codec.decode(b"") == pb.Operation()
    assert repr(codec) == f"ProtobufCodec({pb.Operation.DESCRIPTOR.full_name})"


@pytest.mark.parametrize("value", [None, b"", {"type": "x"}, pb.Step(), pb.Operation])
def test_a_value_that_is_no_such_message_is_refused(value):
    with pytest.raises(PayloadError, match=r"not a message of type .*Operation"):
        ProtobufCodec(pb.Operation).encode(value)


@pytest.mark.parametrize("data", [b"\xff", MESSAGE.SerializeToString()[:-1], b"\x0a\x05ab"])
def test_bytes_that_are_no_message_are_refused(data):
    with pytest.raises(PayloadError, match=r"no message of type .*Operation"):
        ProtobufCodec(pb.Operation).decode(data)


@pytest.mark.parametrize("wrong", [None, dict, "Operation", MESSAGE, object])
def test_only_classes_of_messages_are_types(wrong):
    with pytest.raises(InvalidOption, match="class of a message"):
        ProtobufCodec(wrong)


@pytest.mark.parametrize("codec", [BytesCodec(), JsonCodec(), ProtobufCodec(pb.Operation)])
@pytest.mark.parametrize("data", ["text", None, bytearray(b"{}"), bytes(MAX_PAYLOAD + 1)])
def test_payloads_are_bytes_within_the_limit(codec, data):
    with pytest.raises(PayloadError):
        codec.decode(data)
    with pytest.raises(PayloadError):
        codec.encode(b"x" * (MAX_PAYLOAD + 1) if data is None else object())


def test_each_says_what_its_payload_is():
    types = [codec.content_type for codec in (BytesCodec, JsonCodec, ProtobufCodec)]
    assert types == ["application/octet-stream", "application/json", "application/x-protobuf"]
