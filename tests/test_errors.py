"""The tree of errors: who is to blame is a class, codes are stable, every error says what to do and can be copied."""

import copy
import inspect
import pickle
import re

import pytest

from flow_core import errors
from flow_core.errors import (
    AdapterError,
    CycleError,
    ExecutionError,
    FlowError,
    NoReply,
    RegistrationError,
    RevisionConflict,
    StepTimeout,
    UnknownOperation,
    UnresolvedSteps,
    did_you_mean,
)

CLASSES = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, FlowError)]
SPECIAL = {
    CycleError: lambda: CycleError(["a", "b", "a"], flow="f"),
    RevisionConflict: lambda: RevisionConflict("moved on", expected=1, actual=2, flow="f"),
    UnresolvedSteps: lambda: UnresolvedSteps("missing", missing={"a": ["b"]}, flow="f"),
}


def make(cls):
    return SPECIAL.get(cls, lambda: cls("what", fix="do this", flow="f", execution="e", step="s", attempt=2))()


@pytest.mark.parametrize("cls", CLASSES)
def test_every_class_is_public_documented_and_in_the_tree(cls):
    assert cls.__name__ in errors.__all__
    assert cls.__doc__
    assert cls.__name__ in errors.__doc__


def test_codes_are_unique_and_plain():
    codes = [cls.code for cls in CLASSES]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", code) for code in codes)


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_can_be_copied_and_sent(cls, again):
    error = make(cls)
    twin = again(error)
    assert type(twin) is cls
    assert str(twin) == str(error)
    assert twin.args == error.args
    assert vars(twin) == vars(error)


def test_where_and_fix_are_kept():
    error = AdapterError("down", fix="start it", retry_after=3.0, flow="f", execution="e", step="s", attempt=2)
    assert (error.flow, error.execution, error.step, error.attempt) == ("f", "e", "s", 2)
    assert error.retry_after == 3.0
    assert str(error) == "down\n  fix: start it"
    assert str(FlowError("alone")) == "alone"


def test_a_cycle_is_told_as_a_path():
    error = CycleError(iter(["a", "b", "a"]))
    assert error.path == ("a", "b", "a")
    assert "a -> b -> a" in str(error)


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        (StepTimeout, TimeoutError),
        (NoReply, TimeoutError),
        (UnknownOperation, LookupError),
        (UnknownOperation, ValueError),
    ],
)
def test_errors_are_also_what_python_calls_them(cls, builtin):
    with pytest.raises(builtin, match="what"):
        raise cls("what")


def test_blame_is_told_apart():
    assert not issubclass(AdapterError, (RegistrationError, ExecutionError))
    assert not issubclass(RegistrationError, ExecutionError)


def test_did_you_mean():
    assert did_you_mean("reserv", ["reserve", "pay"]) == "did you mean 'reserve'?"
    assert did_you_mean("zzz", ["reserve", "pay"]) is None
    assert did_you_mean("a", []) is None
