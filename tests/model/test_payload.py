"""Values become bytes and come back; what would not is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_core.errors import PayloadError
from flow_core.model.ids import MAX_PAYLOAD
from flow_core.model.payload import check_payload, decode_json, encode_mapping, encode_value

values = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(values)
def test_json_goes_there_and_back(value):
    assert decode_json(encode_value(value)) == value


@pytest.mark.parametrize("raw", [b"", b"\xff\x00", b"{}", bytearray(b"ab"), memoryview(b"abcd")[::2]])
def test_bytes_stay_what_they_are(raw):
    encoded = encode_value(raw)
    assert type(encoded) is bytes
    assert encoded == bytes(raw)


def test_none_is_empty_and_comes_back():
    assert encode_value(None) == b""
    assert decode_json(b"") is None


def test_bytes_that_are_not_json_come_back_as_they_are():
    assert decode_json(b"\xff\x00") == b"\xff\x00"


def test_a_mapping_takes_json_bytes_in_as_they_are():
    encoded = encode_mapping({"a": b'{"x": [1, 2]}', "b": "text", "c": bytearray(b"7"), "d": {"e": None}})
    assert decode_json(encoded) == {"a": {"x": [1, 2]}, "b": "text", "c": 7, "d": {"e": None}}


def test_an_empty_output_is_null_in_a_mapping():
    assert encode_mapping({"published": b"", "nothing": None}) == b'{"published":null,"nothing":null}'


@pytest.mark.parametrize("raw", [b"\xff", b"not json", b"{", b"NaN"])
def test_bytes_that_are_not_json_cannot_be_part_of_it(raw):
    with pytest.raises(PayloadError, match=r"step input: 'a' is \d+ bytes that are not JSON"):
        encode_mapping({"a": raw}, "step input")


def test_numpy_values_are_numbers():
    assert encode_value({"a": np.arange(3), "b": np.float64(0.5)}) == b'{"a":[0,1,2],"b":0.5}'


@pytest.mark.parametrize("value", [object(), {1, 2}, 2**70, "\ud800", {"a": object()}, [b"bytes"]])
def test_what_json_does_not_know_is_refused_with_the_cause(value):
    with pytest.raises(PayloadError, match="can't be written as JSON") as caught:
        encode_value(value, "output of step 's'")
    assert "output of step 's'" in caught.value.message
    assert isinstance(caught.value.__cause__, TypeError)


def test_a_cycle_is_refused():
    cycle: list = []
    cycle.append(cycle)
    with pytest.raises(PayloadError):
        encode_value(cycle)


@pytest.mark.parametrize("make", [lambda n: b"x" * n, lambda n: "x" * (n - 2), lambda n: {"a": "x" * (n - 8)}])
def test_the_limit_is_exact_and_named(make):
    assert len(encode_value(make(MAX_PAYLOAD))) == MAX_PAYLOAD
    with pytest.raises(
        PayloadError, match=rf"request is {MAX_PAYLOAD + 1} bytes, the limit MAX_PAYLOAD is {MAX_PAYLOAD}"
    ):
        encode_value(make(MAX_PAYLOAD + 1), "request")


@pytest.mark.parametrize("data", ["text", None, 7, bytearray(b"x")])
def test_a_payload_is_bytes(data):
    with pytest.raises(PayloadError, match=f"output must be bytes, not {type(data).__name__}"):
        check_payload(data, "output")
