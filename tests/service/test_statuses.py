"""Every error has a status, and arrives at the other end as what it was."""

import inspect

import pytest

from flow_core import errors
from flow_core.errors import FlowError
from flow_core.proto.errors import STATUSES, details_of, error_of, info_of, status_of, trailers_of

ALL = [cls for cls in vars(errors).values() if inspect.isclass(cls) and issubclass(cls, FlowError)]
#: What those want whose constructor wants more.
SPECIAL = {
    "cycle": lambda cls: cls(["a", "b", "a"], flow="f"),
    "revision_conflict": lambda cls: cls("moved on", expected=3, actual=4, flow="f"),
    "unresolved_steps": lambda cls: cls("missing", missing={"x": ["a", "b"]}, flow="f"),
}


def made(cls):
    make = SPECIAL.get(cls.code)
    return make(cls) if make else cls("it went wrong", fix="mend it", flow="f", step="s", attempt=2)


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.code)
def test_every_error_has_a_status_of_its_own(cls):
    assert cls.code in STATUSES
    assert status_of(made(cls)) == STATUSES[cls.code]


def test_no_row_is_for_nobody():
    assert STATUSES.keys() == {cls.code for cls in ALL}


def test_only_a_bug_of_ours_is_internal():
    assert [code for code, status in STATUSES.items() if status == "INTERNAL"] == ["internal"]


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.code)
def test_an_error_comes_back_as_it_was(cls):
    error = made(cls)
    back = error_of(info_of(error))
    assert type(back) is cls
    assert str(back) == str(error) and back.args == error.args
    for name, value in vars(error).items():
        assert getattr(back, name) == value, name


def test_fields_of_errors_come_back():
    back = error_of(info_of(errors.QuotaExceeded("slow down", retry_after=1.5)))
    assert back.retry_after == 1.5
    assert error_of(info_of(errors.Conflict("c", reason="revision"))).reason == "revision"


def test_a_cause_comes_along_and_a_strangers_class_does_not():
    error = errors.StepFailed("step 's' failed", step="s")
    error.__cause__ = KeyError("price")
    back = error_of(info_of(error))
    assert type(back.__cause__) is errors.RecordedError
    assert back.__cause__.type == "builtins.KeyError" and back.__cause__.message == "'price'"


def test_a_subclass_of_yours_has_the_status_of_its_base():
    class Mine(errors.UnknownFlow):
        code = "mine"

    assert status_of(Mine("gone")) == "NOT_FOUND"
    assert type(error_of(info_of(Mine("gone")))) is FlowError


@pytest.mark.parametrize("text", ["x" * 100_000, "\u2603" * 100_000, "\U0001f600" * 9_999, "a\ud800b\n\x00", ""])
def test_nothing_of_a_long_text_breaks_a_header(text):
    error = errors.UnresolvedSteps(text, missing={text or "e": [text] * 10}, fix=text, step=text)
    assert len(details_of(error).encode()) * (1 if details_of(error).isascii() else 3) <= 1_000
    for key, value in trailers_of(error):
        assert len(value) <= 4_096
        if not key.endswith("-bin"):
            assert value.isascii() and value.isprintable()
    assert type(error_of(info_of(error))) is errors.UnresolvedSteps


def test_what_a_server_says_does_not_reach_into_the_error():
    info = info_of(errors.FlowError("x"))
    info.fields = b'{"__class__": "evil", "args": [1], "message": "other", "execution": 3, "flow": "f", "a b": 1}'
    back = error_of(info)
    assert (type(back), back.args, back.message, back.execution, back.flow) == (FlowError, ("x",), "x", None, "f")
    info.fields = b"no JSON"
    assert error_of(info).message == "x"
