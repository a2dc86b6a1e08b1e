"""`Operation` as a base for others, and `LocalOperation` over every kind of callable."""

import functools

import pytest

from flow_core.errors import InvalidStep
from flow_core.model.operation import LocalOperation, Operation
from flow_core.model.options import OperationOptions
from flow_core.proto.encoding import decode_operation, encode_operation
from tests.aio import run_virtual


class Shout(Operation):
    type = "shout"

    def __init__(self, loud=1, options=None):
        super().__init__("shout", options)
        self.loud = loud

    def fields(self):
        return {"loud": str(self.loud)}

    def load(self, fields):
        self.loud = int(fields["loud"])

    async def execute(self, ctx, data):
        return data.upper() * self.loud


def execute(function, data=b'{"x": 1}', ctx="ctx"):
    return run_virtual(LocalOperation(function).execute(ctx, data))


def test_an_own_operation_needs_type_fields_load_and_execute():
    operation = Shout(2, OperationOptions(timeout=3))
    again = decode_operation(encode_operation(operation), Shout)
    assert again == operation
    assert run_virtual(again.execute(None, b"x")) == b"XX"
    assert str(operation) == "shout(shout)"


def test_operations_are_values():
    assert Shout(1) == Shout(1) != Shout(2)
    assert hash(Shout(1)) == hash(Shout(1))
    assert Shout(1) != Shout(1, OperationOptions(retries=1))
    assert Shout(1) != LocalOperation(len, name="shout")


def test_execute_must_be_there():
    with pytest.raises(TypeError, match="abstract"):
        type("Half", (Operation,), {"type": "half"})("x")


class Service:
    def method(self, value):
        return ["method", value]

    async def later(self, ctx, value):
        return ["later", ctx, value]

    async def __call__(self, value):
        return ["call", value]


async def with_context(ctx, value):
    return [ctx, value]


@pytest.mark.parametrize(
    ("function", "arity", "is_async", "result"),
    [
        (lambda: 7, 0, False, b"7"),
        (lambda value: value, 1, False, b'{"x":1}'),
        (lambda ctx, value: [ctx, value], 2, False, b'["ctx",{"x":1}]'),
        (lambda value, extra=5: [value, extra], 1, False, b'[{"x":1},5]'),
        (lambda value=None: value, 1, False, b'{"x":1}'),
        (lambda *values: len(values), 1, False, b"1"),
        (lambda ctx, value, *rest: [ctx, len(rest)], 2, False, b'["ctx",0]'),
        (lambda value, *, key=1: key, 1, False, b"1"),
        (with_context, 2, True, b'["ctx",{"x":1}]'),
        (functools.partial(with_context, "bound"), 1, True, b'["bound",{"x":1}]'),
        (Service().method, 1, False, b'["method",{"x":1}]'),
        (Service().later, 2, True, b'["later","ctx",{"x":1}]'),
        (Service(), 1, True, b'["call",{"x":1}]'),
        (len, 1, False, b"1"),
    ],
)
def test_callables_get_what_they_ask_for(function, arity, is_async, result):
    operation = LocalOperation(function)
    assert (operation.arity, operation.is_async) == (arity, is_async)
    assert execute(function) == result


@pytest.mark.parametrize("function", [lambda a, b, c: 0, lambda a, *, key: 0, functools.partial(lambda *, key: 0)])
def test_callables_that_ask_for_more_are_refused(function):
    with pytest.raises(InvalidStep, match=r"takes 3 arguments|keyword argument"):
        LocalOperation(function)


@pytest.mark.parametrize("wrong", [None, 7, "work"])
def test_what_is_not_callable_is_refused(wrong):
    with pytest.raises(InvalidStep, match="needs a callable"):
        LocalOperation(wrong)


def test_names():
    assert LocalOperation(with_context).name == "with_context"
    assert LocalOperation(functools.partial(with_context, 1)).name == "with_context"
    assert LocalOperation(Service().method).name == "Service.method"
    assert LocalOperation(Service()).name == "Service"
    assert LocalOperation(with_context, name="own").name == "own"


def test_an_unbound_one_says_how_to_bind_it():
    again = decode_operation(encode_operation(LocalOperation(with_context)), LocalOperation)
    with pytest.raises(InvalidStep, match=r"flow\.bind\('with_context'"):
        run_virtual(again.execute("ctx", b""))
    assert run_virtual(again.bind(with_context).execute("ctx", b"1")) == b'["ctx",1]'
