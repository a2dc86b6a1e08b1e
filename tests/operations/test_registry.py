"""The registry: built-ins, duplicates, plug-ins found by entry point and loaded when asked for."""

import functools
import sys

import pytest

from flow_core.errors import DuplicateOperation, InvalidId, InvalidStep, UnknownOperation
from flow_core.model.operation import Operation
from flow_core.operations import LocalOperation, OperationRegistry
from tests.plugin_kit import Installer

BUILT_IN = (
    "client_call_operation",
    "client_publish_operation",
    "empty_operation",
    "flow_execute_operation",
    "local_operation",
)


class Mine(Operation):
    type = "mine"

    async def execute(self, ctx, data):
        return data


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """Install a distribution with entry points for the time of a test: ``plugins(lines, source)``."""
    monkeypatch.syspath_prepend(tmp_path)
    return functools.partial(Installer(tmp_path), "flow_core.operations")


PLUGIN = """
from flow_core.model.operation import Operation
class Ship(Operation):
    type = "ship"
    async def execute(self, ctx, data):
        return data
"""


def test_built_ins_are_there_from_the_start():
    registry = OperationRegistry()
    assert registry.types() == BUILT_IN
    assert registry.resolve("local_operation") is LocalOperation


def test_registries_share_nothing():
    registry, other = OperationRegistry(), OperationRegistry()
    assert registry.register(Mine) is Mine
    assert registry.resolve("mine") is Mine
    with pytest.raises(UnknownOperation):
        other.resolve("mine")


def test_a_type_has_one_class():
    registry = OperationRegistry()
    registry.register(Mine)
    other = type("Other", (Mine,), {})
    with pytest.raises(DuplicateOperation, match=r"taken by .*Mine"):
        registry.register(other)
    assert registry.resolve("mine") is Mine


@pytest.mark.parametrize("wrong", [int, "Mine", None, Mine("x"), lambda: None])
def test_only_operation_classes_are_taken(wrong):
    with pytest.raises(InvalidStep):
        OperationRegistry().register(wrong)


def test_an_abstract_class_is_refused_with_what_it_lacks():
    with pytest.raises(InvalidStep, match="execute"):
        OperationRegistry().register(type("Half", (Operation,), {"type": "half"}))


@pytest.mark.parametrize("kind", ["", None, "no spaces", 7])
def test_the_type_must_be_an_id(kind):
    with pytest.raises(InvalidId):
        OperationRegistry().register(type("Odd", (Mine,), {"type": kind}))


def test_an_unknown_type_suggests_the_closest():
    with pytest.raises(UnknownOperation, match="did you mean 'client_call_operation'"):
        OperationRegistry().resolve("client_cal_operation")


def test_a_plugin_is_listed_and_loaded_when_asked_for(plugins):
    plugins("ship = acme_flow_ops:Ship\n", PLUGIN)
    registry = OperationRegistry()
    assert "ship" in registry.types()
    assert "acme_flow_ops" not in sys.modules
    assert registry.resolve("ship").type == "ship"
    assert registry.resolve("ship") is registry.resolve("ship")


def test_a_broken_plugin_is_named_and_hurts_nobody_else(plugins):
    plugins("ship = acme_flow_ops:Ship\nbroken = acme_no_such_module:X\n", PLUGIN)
    registry = OperationRegistry()
    with pytest.raises(UnknownOperation, match=r"acme_no_such_module:X' of acme.*broken") as caught:
        registry.resolve("broken")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
    assert registry.resolve("ship").type == "ship"


def test_a_plugin_must_bring_the_type_it_is_named_after(plugins):
    plugins("boat = acme_flow_ops:Ship\n", PLUGIN)
    with pytest.raises(UnknownOperation, match="brings the type 'ship'"):
        OperationRegistry().resolve("boat")


def test_a_plugin_that_is_no_operation_is_refused(plugins):
    plugins("ship = acme_flow_ops:Ship\n", "Ship = 7")
    with pytest.raises(UnknownOperation, match="subclass of Operation"):
        OperationRegistry().resolve("ship")


def test_two_plugins_of_one_type_are_refused_until_one_is_registered(plugins):
    plugins("ship = acme_flow_ops:Ship\n", PLUGIN)
    plugins("ship = zeta_flow_ops:Ship\n", PLUGIN, name="zeta")
    registry = OperationRegistry()
    with pytest.raises(DuplicateOperation, match=r"acme.*zeta|zeta.*acme"):
        registry.resolve("ship")
    mine = registry.register(type("Ship", (Mine,), {"type": "ship"}))
    assert registry.resolve("ship") is mine
