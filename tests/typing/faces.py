"""What a type checker accepts of the three faces of a flow, and what it refuses.

Read by mypy only (``[tool.mypy]``): a wrong line that it accepts is an unused ``type: ignore``, and so an error, too.
"""

from __future__ import annotations

from typing import assert_type

import flow_core
from flow_core import ExecuteOptions, Executor, ExecutorOptions, Flow, Status, Step, blocking, connect
from flow_core.client.remote_execution import RemoteExecution, RemoteExecutor
from flow_core.client.remote_flow import RemoteFlow
from flow_core.model.explanation import Explanation
from flow_core.model.interface import (
    ExecutionLike,
    ExecutorLike,
    FlowLike,
    LocalExecution,
    LocalExecutor,
    LocalFlow,
)
from flow_core.model.transition import Transition


async def alike(flow: FlowLike) -> None:
    """The same code, here and with the flows of a server."""
    await flow.create_step("f", Step("a", len))
    assert_type(await flow.flows(), list[str])
    assert_type(await flow.execute("f", b"", async_=True, timeout=3.0), ExecutionLike)
    assert_type(await flow.executor.explain("f", "id"), Explanation)
    flow.bind("f", len)  # type: ignore[attr-defined]
    flow.flows().sort()  # type: ignore[attr-defined]
    await flow.execute("f", timeuot=3.0)  # type: ignore[call-arg]


async def faces(
    execution: flow_core.Execution,
    remote_execution: RemoteExecution,
    executor: Executor,
    remote_executor: RemoteExecutor,
) -> None:
    """Each face keeps what the interface promises."""
    here: LocalFlow = Flow()
    there: FlowLike = connect("grpc://127.0.0.1:50051")
    not_here: LocalFlow = RemoteFlow("grpc://127.0.0.1:50051")  # type: ignore[assignment]
    threads: FlowLike = blocking.Flow()  # type: ignore[assignment]
    executors: tuple[LocalExecutor, ExecutorLike] = executor, remote_executor
    executions: tuple[LocalExecution, ExecutionLike] = execution, remote_execution
    assert_type(await connect("grpc://127.0.0.1:50051").execute("f"), RemoteExecution)
    print(here, there, not_here, threads, executors, executions)


def threads() -> None:
    """The blocking face: no await, and nothing that does not exist."""
    with blocking.Flow(store="sqlite:///flow.db", executor=Executor(workers=2)) as flow:
        assert_type(flow.create_step("f", Step("a", len)), int)
        execution = flow.execute("f", b"", ExecuteOptions(priority=0))
        assert_type(execution, blocking.Execution)
        assert_type(execution.status, Status)
        assert_type(execution.result("a"), bytes)
        assert_type([move for move in execution], list[Transition])  # noqa: C416
        assert_type(flow.executor.restart("f", execution.id), blocking.Execution)
        flow.no_such_method(1)  # type: ignore[attr-defined]
        flow.executor.no_such_method(1)  # type: ignore[attr-defined]
        execution.no_such_method(1)  # type: ignore[attr-defined]
        flow.create_step("f")  # type: ignore[call-arg]
        flow.execute("f", timeuot=3.0)  # type: ignore[call-arg]
        flow.init(stroe="memory:")  # type: ignore[call-arg]
    blocking.Flow(stroe="memory:")  # type: ignore[arg-type]


async def options(flow: Flow, executor: Executor) -> None:
    """Options that do not exist, or are of another type."""
    Executor(wokers=2)  # type: ignore[call-arg]
    Executor(workers="2")  # type: ignore[arg-type]
    ExecutorOptions(wokers=2)  # type: ignore[call-arg]
    ExecuteOptions(timeuot=3.0)  # type: ignore[call-arg]
    Flow(stroe="memory:")  # type: ignore[arg-type]
    Step("a", len, retires=3)  # type: ignore[arg-type]
    connect("grpc://127.0.0.1:50051", serivce="payment")  # type: ignore[arg-type]
    await flow.init(stroe="memory:")  # type: ignore[call-arg]
    await flow.execute("f", timeuot=3.0)  # type: ignore[call-arg]
    await flow.execute("f", priority="high")  # type: ignore[arg-type]
    await flow.call("f", timeuot=3.0)  # type: ignore[call-arg]
    await executor.init(wokers=2)  # type: ignore[call-arg]
    await executor.execute([], timeuot=3.0)  # type: ignore[call-arg]
    await connect("grpc://127.0.0.1:50051").execute("f", timeuot=3.0)  # type: ignore[call-arg]
    await connect("grpc://127.0.0.1:50051").call("f", timeuot=3.0)  # type: ignore[call-arg]
