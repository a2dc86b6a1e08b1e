"""One interface, three faces: what is promised is there on every side, under the same name, awaited or not alike."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

import flow_core
from flow_core import Executor, ExecutorOptions, Flow, FlowOptions, Step, blocking, connect, errors
from flow_core.client.remote_execution import RemoteExecution, RemoteExecutor
from flow_core.client.remote_flow import RemoteFlow
from flow_core.model import interface
from flow_core.model.options import ExecuteFields, ExecuteOptions, ExecutorFields, FlowFields, Retry
from tests.aio import run

#: Interface, what only its own process does of it, the faces: here, of a server, for threads.
FACES: list[tuple[type, type, type, type, type]] = [
    (interface.FlowLike, interface.LocalFlow, Flow, RemoteFlow, blocking.Flow),
    (interface.ExecutorLike, interface.LocalExecutor, Executor, RemoteExecutor, blocking.Executor),
    (interface.ExecutionLike, interface.LocalExecution, flow_core.Execution, RemoteExecution, blocking.Execution),
]
#: What `Flow` has besides, and why it is not promised: types of the engine, clients, and what the executor asks.
OF_FLOW_ALONE = {"plan", "operations", "rpc", "pubsub", "ownership"} | {"execute_nested", "plan_of", "missing"}
#: What `RemoteFlow` has besides: the service, its connection, and what it knows of owners.
OF_REMOTE_FLOW_ALONE = {"channel", "service", "serve", "operations", "execute_many", "watch", "unavailable", "audit"}


#: Look-ups that a flow of this process answers at once, and every flow when it is awaited.
ANSWERED_AT_ONCE = {"flows", "owners"}


def promised(protocol: type) -> set[str]:
    """Names of a Protocol, those of its bases included."""
    return {name for base in protocol.__mro__ for name in vars(base) if public(base, name)}


def public(cls: type, name: str) -> bool:
    return cls.__module__ == interface.__name__ and (
        not name.startswith("_") or name in {"__await__", "__aiter__", "__aenter__", "__aexit__"}
    )


def cases() -> Iterator[Any]:
    for alike, local, here, remote, threads in FACES:
        for face, protocol in ((here, local), (remote, alike), (threads, local)):
            for name in sorted(promised(protocol)):
                yield pytest.param(protocol, face, name, id=f"{face.__module__}.{face.__name__}.{name}")


def member_of(cls: type, name: str) -> Any:
    return inspect.getattr_static(cls, name)


@pytest.mark.parametrize(("protocol", "face", "name"), list(cases()))
def test_a_face_keeps_what_is_promised(protocol: type, face: type, name: str) -> None:
    wanted = member_of(protocol, name)
    if face.__module__ == "flow_core.blocking":
        name = {"__aiter__": "__iter__", "__aenter__": "__enter__", "__aexit__": "__exit__"}.get(name, name)
        if name == "__await__":
            name = "outcome"
    assert any(name in vars(base) for base in face.__mro__ if base.__module__ != interface.__name__), "it is missing"
    found = member_of(face, name)
    if isinstance(wanted, property):
        assert not inspect.isroutine(found)
        return
    assert inspect.isroutine(found)
    if name in ANSWERED_AT_ONCE:
        return
    awaited = inspect.iscoroutinefunction(wanted) and face.__module__ != "flow_core.blocking"
    assert inspect.iscoroutinefunction(found) == awaited
    if name.startswith("_"):
        return
    given = inspect.signature(found).parameters
    for parameter in inspect.signature(wanted).parameters.values():
        assert parameter.name in given
        assert given[parameter.name].kind is parameter.kind
        assert given[parameter.name].default == parameter.default
    for extra in given.keys() - inspect.signature(wanted).parameters.keys():
        assert given[extra].default is not inspect.Parameter.empty
    assert (inspect.getdoc(getattr(face, name)) or "").strip(), "no docstring, and none to inherit"


def test_a_verb_of_one_side_is_decided_on() -> None:
    def names(cls: type) -> set[str]:
        return {name for name in {*dir(cls), *inspect.get_annotations(cls)} if not name.startswith("_")}

    assert names(Flow) == promised_verbs(interface.LocalFlow) | OF_FLOW_ALONE | {"options"}
    assert names(RemoteFlow) | {"channel", "service", "operations"} == (
        promised_verbs(interface.FlowLike) | OF_REMOTE_FLOW_ALONE
    )
    assert names(RemoteExecutor) == promised_verbs(interface.ExecutorLike)
    assert names(RemoteExecution) == promised_verbs(interface.ExecutionLike) | {"refresh"}
    assert names(blocking.Flow) == names(Flow)


def test_what_is_known_at_once_may_be_awaited() -> None:
    async def main() -> None:
        flow = Flow()
        await flow.create_step("f", Step("a", lambda: 1))
        assert flow.flows() == await flow.flows() == ["f"]
        assert flow.owners("f") == await flow.owners("f") == {}
        with pytest.raises(errors.UnknownFlow):
            flow.owners("g")

    run(main())
    with blocking.Flow() as flow:
        flow.create_step("f", Step("a", lambda: 1))
        assert flow.flows() == ["f"] and flow.owners("f") == {}


def test_before_a_store_is_open_only_the_awaited_answer_has_what_is_in_it(tmp_path: Any) -> None:
    async def main() -> None:
        url = f"sqlite:///{tmp_path}/flow.db"
        async with Flow(store=url) as flow:
            await flow.create_step("f", Step("a", lambda: 1))
        flow = Flow(store=url)
        assert flow.flows() == [] and flow.owners("f") == {}
        assert await flow.flows() == ["f"] and set(await flow.owners("f")) == {"a"}
        assert flow.flows() == ["f"]
        await flow.stop()

    run(main())


def promised_verbs(protocol: type) -> set[str]:
    return {name for name in promised(protocol) if not name.startswith("_")}


def test_the_faces_are_instances_of_the_interface() -> None:
    async def main() -> None:
        async with Flow() as flow, connect("grpc://127.0.0.1:1") as remote:
            await flow.create_step("f", Step("a", lambda: 1))
            execution = await flow.execute("f")
            assert isinstance(flow, interface.FlowLike) and isinstance(remote, interface.FlowLike)
            assert isinstance(flow.executor, interface.ExecutorLike)
            assert isinstance(remote.executor, interface.ExecutorLike)
            assert isinstance(execution, interface.ExecutionLike)

    run(main())


# --- options --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "options"),
    [(FlowFields, FlowOptions), (ExecutorFields, ExecutorOptions), (ExecuteFields, ExecuteOptions)],
)
def test_the_keywords_are_the_fields_of_the_record(fields: Any, options: Any) -> None:
    of_record = {name: field.type for name, field in options.__dataclass_fields__.items()}
    if options is ExecuteOptions:
        del of_record["flow"]
    assert {
        name: getattr(value, "__forward_arg__", value) for name, value in fields.__annotations__.items()
    } == of_record


@pytest.mark.parametrize(
    ("make", "wrong", "right"),
    [
        (Executor, "wokers", "workers"),
        (ExecutorOptions, "wokers", "workers"),
        (Flow, "stroe", "store"),
        (blocking.Flow, "stroe", "store"),
        (lambda **fields: connect("grpc://127.0.0.1:1", **fields), "serivce", "service"),
        (FlowOptions, "stroe", "store"),
        (ExecuteOptions, "timeuot", "timeout"),
        (Retry, "retires", "retries"),
        (lambda **fields: Step("a", len, **fields), "aftre", "after"),
        (Step("a", len).replace, "aftre", "after"),
        (lambda **fields: blocking.Flow().execute("f", **fields), "timeuot", "timeout"),
        (lambda **fields: blocking.Flow().call("f", **fields), "timeuot", "timeout"),
        (lambda **fields: blocking.Flow().init(**fields), "stroe", "store"),
        (lambda **fields: blocking.Flow().executor.init(**fields), "wokers", "workers"),
        (lambda **fields: run(_remote(**fields)), "timeuot", "timeout"),
    ],
)
def test_an_unknown_option_is_refused_with_the_nearest_name(make: Any, wrong: str, right: str) -> None:
    with pytest.raises(errors.InvalidOption, match=f"no option '{wrong}'") as refused:
        make(**{wrong: 1})
    assert refused.value.fix == f"did you mean '{right}'?"


async def _remote(**fields: Any) -> None:
    async with connect("grpc://127.0.0.1:1") as flows:
        await flows.execute("f", **fields)
