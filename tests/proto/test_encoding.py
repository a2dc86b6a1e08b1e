"""Steps and operations survive the wire whole, the original's messages are read, and bad bytes are refused by name."""

import datetime
import enum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flow_core.errors import DecodeError, EncodeError, UnknownOperation
from flow_core.model.operation import LocalOperation, Operation
from flow_core.model.options import OperationOptions, Retry
from flow_core.model.step import ALL, Fallback, Step
from flow_core.operations import ClientCallOperation, EmptyOperation, OperationRegistry
from flow_core.proto import flow_pb2 as pb
from flow_core.proto.encoding import (
    decode_operation,
    decode_step,
    decode_steps,
    encode_operation,
    encode_step,
    encode_steps,
)
from tests.proto.strategies import operations, steps, work

REGISTRY = OperationRegistry()
CALL = ClientCallOperation("inventory", "reserve")


def wire(number, value):
    """One length-delimited field of the protobuf wire format, by hand."""
    data = value if isinstance(value, bytes) else value.encode()
    assert len(data) < 128
    return bytes([number << 3 | 2, len(data)]) + data


def entry(key, value):
    return wire(3, wire(1, key) + wire(2, value))


def same(step, other):
    """Equal, and equal in what `==` does not see: the types of context values."""
    assert step == other
    for mine, theirs in ((step.operation, other.operation), (step.compensation, other.compensation)):
        if mine is not None:
            assert repr(dict(sorted(mine.options.context.items()))) == repr(dict(theirs.options.context))


@settings(max_examples=150, deadline=None)
@given(steps)
def test_a_step_survives(step):
    message = encode_step(step)
    same(step, decode_step(message, REGISTRY))
    same(step, decode_step(message.SerializeToString(), REGISTRY))


@settings(max_examples=50, deadline=None)
@given(operations)
def test_an_operation_survives(operation):
    again = REGISTRY.decode(encode_operation(operation))
    assert again == operation
    assert encode_operation(again) == encode_operation(operation)


@settings(max_examples=20, deadline=None)
@given(st.lists(steps, max_size=4))
def test_steps_survive_in_order(many):
    assert decode_steps(encode_steps(many).SerializeToString(), REGISTRY) == many


FULL = Step(
    "pay", CALL, retry=Retry(2), timeout=1.5, total_timeout=9, input={"a": "x"}, output="paid", after=["a", ALL],
    before="z", fallback=Fallback(CALL, "fail"), compensation=CALL, allow_fail=False, when="ready", join="done",
    manual=True, delivery="at_most_once",
)  # fmt: skip


@pytest.mark.parametrize("name", [name for name in Step.__slots__ if name not in ("plain", "id", "operation")])
def test_every_field_is_on_the_wire(name):
    """Guards the round-trip test itself: a field that a new version forgets to write differs from its default."""
    default = getattr(Step("pay", CALL), name)
    assert getattr(FULL, name) != default
    assert getattr(decode_step(encode_step(FULL), REGISTRY), name) == getattr(FULL, name)


@pytest.mark.parametrize(
    "change",
    [
        {"retry": 0}, {"allow_fail": False}, {"retry": Retry(0, initial=0, retry_on=())}, {"retry": Retry()},
    ],
)  # fmt: skip
def test_zero_and_false_are_values_and_not_absence(change):
    step = Step("s", CALL).replace(**change)
    again = decode_step(encode_step(step), REGISTRY)
    assert again == step
    assert again != Step("s", CALL)


def test_a_local_operation_travels_by_name_and_waits_to_be_bound():
    again = decode_step(encode_step(Step("s", LocalOperation(work, name="do"))), REGISTRY)
    assert isinstance(again.operation, LocalOperation)
    assert again.operation.function is None
    assert again.operation.bind(work).function is work


# --- the original's form --------------------------------------------------------------------------------------------


def test_the_originals_step_is_read():
    call = wire(1, "inventory.reserve") + wire(2, "client_call_operation")
    call += entry("service", "inventory") + entry("endpoint", "reserve")
    rollback = wire(1, "checkout.undo") + wire(2, "flow_execute_operation") + entry("flow", "checkout")
    rollback += entry("op", "undo")
    data = wire(1, "reserve") + wire(2, "start") + wire(2, "check") + wire(3, "pay") + wire(4, "checked")
    step = decode_step(data + wire(5, "reserved") + wire(6, call) + wire(7, rollback), REGISTRY)
    assert step.id == "reserve"
    assert (step.after, step.before, step.input, step.output) == (("start", "check"), ("pay",), "checked", "reserved")
    assert step.operation == CALL
    assert step.fallback.then == "continue"
    assert step.fallback.operation.fields() == {"flow": "checkout", "op": "undo"}
    assert (step.retry, step.timeout, step.allow_fail, step.compensation) == (None, None, None, None)


def test_the_originals_steps_and_its_magic_all_are_read():
    empty = wire(6, wire(1, "e") + wire(2, "empty_operation"))
    last = wire(1, wire(1, "last") + wire(2, "all") + empty)
    first = wire(1, wire(1, "first") + wire(3, "all") + empty)
    read = decode_steps(last + first, REGISTRY)
    assert [(step.id, step.after, step.before) for step in read] == [("last", (ALL,), ()), ("first", (), (ALL,))]


def test_in_our_format_a_step_may_be_called_all():
    step = Step("s", CALL, after=["all"], before=[ALL])
    message = encode_step(step)
    assert list(message.after) == ["all"]
    assert list(message.before) == ["$all"]
    assert decode_step(message, REGISTRY) == step


def test_what_is_written_keeps_the_originals_numbers():
    message = encode_step(Step("s", CALL, after="a", before="b", input="i", output="o", fallback=EmptyOperation("f")))
    data = message.SerializeToString()
    head = wire(1, "s") + wire(2, "a") + wire(3, "b") + wire(4, "i") + wire(5, "o")
    assert data.startswith(head + b"\x32")  # then field 6, the operation
    assert wire(7, wire(1, "f") + wire(2, "empty_operation")) in data


# --- what can't be written ------------------------------------------------------------------------------------------


class Color(enum.IntEnum):
    RED = 1


class Text(str):
    pass


CYCLE: list = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    "value",
    [
        object(), {1, 2}, (1, 2), [(1,)], {"a": {1: 2}}, b"raw", datetime.date(2024, 1, 1), Color.RED, Text("x"),
        float("nan"), [float("inf")], 2**64, -(2**63) - 1, "\ud800", CYCLE,
    ],
    ids=repr,
)  # fmt: skip
def test_context_that_json_would_change_is_refused(value):
    step = Step("s", EmptyOperation("e", options=OperationOptions(context={"key": value})))
    with pytest.raises(EncodeError, match=r"step 's'.*'key'"):
        encode_step(step)


@pytest.mark.parametrize("key", [1, None, "\ud800"])
def test_context_keys_are_text(key):
    with pytest.raises(EncodeError, match="context"):
        encode_operation(EmptyOperation("e", options=OperationOptions(context={key: 1})))


@pytest.mark.parametrize(
    ("step", "says"),
    [
        (Step("s", CALL, retry=2**64), "retry_count"),
        (Step("s", CALL, retry=Retry(2**64)), "retries"),
        (Step("s", CALL, retry=Retry(1, retry_on="\ud800")), "exceptions"),
        (Step("s", EmptyOperation("\ud800")), "name"),
        (Step("s", EmptyOperation(7)), "name"),
        (Step("s", CALL, fallback=EmptyOperation(7)), "fallback"),
        (Step("s", CALL, compensation=EmptyOperation(7)), "compensation"),
        (Step("s", CALL, input={"\ud800": "x"}), "input"),
    ],
)
def test_what_has_no_wire_form_is_refused_by_name(step, says):
    with pytest.raises(EncodeError, match=rf"step 's'.*{says}"):
        encode_step(step)


def test_fields_of_an_own_operation_are_text():
    class Odd(EmptyOperation):
        def fields(self):
            return {"n": 7}

    with pytest.raises(EncodeError, match="field 'n'"):
        encode_operation(Odd("x"))


def test_an_operation_without_a_type_is_refused():
    class Untyped(Operation):
        async def execute(self, ctx, data):
            return data

    with pytest.raises(EncodeError, match="type"):
        encode_operation(Untyped("x"))


# --- what can't be read ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [decode_step, decode_steps])
def test_every_truncation_is_refused_or_is_whole_in_itself(kind):
    """A cut between two fields may leave a message of the original's (its fields only), or fewer steps; no other."""
    whole = (encode_step(FULL) if kind is decode_step else encode_steps([FULL, FULL])).SerializeToString()
    expected = kind(whole, REGISTRY)
    named = 0
    for cut in range(len(whole)):
        try:
            read = kind(whole[:cut], REGISTRY)
            if kind is decode_steps:
                assert read in ([], expected[:1])
            else:
                assert all(field.number < 16 for field, _ in pb.Step.FromString(whole[:cut]).ListFields())
        except DecodeError as error:
            named += "Step" in error.message and "." in error.message
    assert named > len(whole) / 2


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_garbage_is_refused_and_nothing_else_is_raised(data):
    with pytest.raises(DecodeError):
        decode_step(data, REGISTRY)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_flipped_byte_never_ends_in_a_foreign_error(data):
    whole = bytearray(encode_step(FULL).SerializeToString())
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        decode_step(bytes(whole), REGISTRY)
    except DecodeError:
        pass


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x0a", "Step.name, its length"),
        (b"\x0a\x05ab", "Step.name: 5 bytes announced, 2 left"),
        (b"\x32\x04\x0a\x09ab", r"Step.operation.name: 9 bytes announced, 2 left"),
        (b"\x0a\x01\xff", "Step.name: not UTF-8"),
        (b"\x0a\x01s\x50\x01", "no field has the number 10"),
        (b"\x0a\x01s\x10\x01", "Step.after: wire type 0"),
        (b"\x0a\x01s\x80" + b"\x80" * 12, "tag at byte 3"),
        (b"\x0a\x01s\x91\x01\x00", "Step.timeout: 8 bytes announced, 1 left"),
        (b"", "Step: the field name is empty"),
        (b"\x0a\x01s", "field operation is missing"),
        (b"\x0a\x03a b" + wire(6, wire(2, "empty_operation")), "step id 'a b'"),
    ],
)
def test_the_place_is_named(data, says):
    with pytest.raises(DecodeError, match=says):
        decode_step(data, REGISTRY)


def test_the_step_of_many_is_named():
    message = encode_steps([FULL, FULL])
    message.steps[1].operation.type = "client_cal_operation"
    with pytest.raises(UnknownOperation, match=r"Steps\.steps\[1\] 'pay': field operation: .*client_cal") as caught:
        decode_steps(message, REGISTRY)
    assert "did you mean 'client_call_operation'" in caught.value.fix


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: setattr(m, "format", 2), "format 2"),
        (lambda m: setattr(m, "join", 9), "field join: 9"),
        (lambda m: setattr(m, "delivery", 9), "field delivery: 9"),
        (lambda m: setattr(m, "fallback_then", 9), "field fallback_then: 9"),
        (lambda m: setattr(m.retry, "jitter", 9), "jitter: 9"),
        (lambda m: m.ClearField("fallback"), "fallback is missing"),
        (lambda m: setattr(m, "input", "x"), "input and input_mapping"),
        (lambda m: setattr(m, "timeout", -1.0), "timeout of step 'pay' must be positive"),
        (lambda m: setattr(m, "total_timeout", float("nan")), "total_timeout"),
        (lambda m: setattr(m.retry, "factor", 0.5), "Retry.factor"),
        (lambda m: m.after.append("not an id"), "after of step 'pay'"),
        (lambda m: m.operation.options.update({"surprise": "1"}), "surprise"),
        (lambda m: m.operation.context.update({"k": b"{"}), r"context\['k'\] is not JSON"),
        (lambda m: setattr(m.operation, "timeout", 0.0), "OperationOptions.timeout"),
        (lambda m: setattr(m.compensation, "type", ""), "field compensation: no operation of type ''"),
    ],
)
def test_impossible_values_are_refused_by_name(change, says):
    message = encode_step(FULL)
    change(message)
    with pytest.raises(DecodeError, match=says):
        decode_step(message, REGISTRY)


@pytest.mark.parametrize("source", [None, "text", 7, pb.Operation()])
def test_only_bytes_and_messages_are_read(source):
    with pytest.raises(DecodeError, match="bytes or a Step"):
        decode_step(source, REGISTRY)


def test_absent_fields_of_a_retry_take_the_defaults():
    message = encode_step(Step("s", CALL))
    message.retry.SetInParent()
    assert decode_step(message, REGISTRY).retry == Retry()


def test_a_step_cut_before_its_last_field_is_refused():
    message = encode_step(FULL)
    message.ClearField("format")
    with pytest.raises(DecodeError, match=r"format is missing, and .*compensation.* cut short"):
        decode_step(message, REGISTRY)


def test_decoding_leaves_the_message_alone():
    message = encode_step(FULL)
    before = message.SerializeToString(deterministic=True)
    decode_step(message, REGISTRY)
    assert message.SerializeToString(deterministic=True) == before


def test_bytes_may_be_written_in_another_way_than_protobufs_own():
    """Defaults spelt out, fields out of order, a map entry without its key: legal, and read."""
    empty = wire(6, wire(2, "empty_operation") + wire(1, "e"))
    local = wire(7, wire(1, "f") + wire(2, "local_operation"))
    keyless = b"\xda\x01" + bytes([3]) + wire(2, "x")  # input_mapping {"": "x"}
    step = decode_step(
        local + empty + wire(4, "") + b"\xc0\x01\x00" + wire(1, "s") + keyless + b"\xf8\x01\x01", REGISTRY
    )
    assert (step.id, step.input, step.manual, step.operation) == ("s", {"": "x"}, False, EmptyOperation("e"))
    assert step.fallback == Fallback(LocalOperation(work, name="f"))


def test_the_wrong_class_is_not_filled():
    with pytest.raises(DecodeError, match="not 'empty_operation'"):
        decode_operation(encode_operation(CALL), EmptyOperation)
