"""The processes of the service figure: ``python -m benchmarks.figures._service``.

Without arguments the server: it serves the flows ``one`` (a step that answers with what it gets) and ``small`` (8 such
steps) as a `FlowServer`, and beside it a bare grpc.aio server with the same messages that answers with what it gets, in
the same process. It prints both ports and ends when standard input does. With a port as argument: a client that looks
flows up there.
"""

import asyncio
import sys
from time import perf_counter

import grpc
import grpc.aio

import flow_core
from benchmarks import shapes
from benchmarks.workload import Case, plain_steps
from flow_core import Flow, Step
from flow_core.proto import flow_pb2 as pb
from flow_core.service.server import FlowServer


class Echo(grpc.GenericRpcHandler):
    def service(self, details):
        return HANDLER


async def answer(request, context):
    return pb.ExecuteReply(id="019ac1f0-0000-7000-8000-000000000000", status=pb.SUCCESS, data=request.data)


HANDLER = grpc.unary_unary_rpc_method_handler(
    answer,
    request_deserializer=pb.ExecuteRequest.FromString,
    response_serializer=pb.ExecuteReply.SerializeToString,
)


def small_steps():
    dag = shapes.dag_of(Case("small", "noop", 8))
    functions = plain_steps(dag, "noop", "async")
    return [
        Step(f"s{n}", functions[n], after=[f"s{p}" for p in before], input=f"s{before[0]}" if before else None)
        for n, before in enumerate(dag.predecessors)
    ]


async def main():
    echo = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    echo.add_generic_rpc_handlers((Echo(),))
    port = echo.add_insecure_port("127.0.0.1:0")
    await echo.start()
    async with Flow() as flow, FlowServer(flow) as server:
        steps = small_steps()
        await flow.create_steps("small", steps)
        await flow.create_step("one", steps[0])
        print(server.address.rpartition(":")[2], port, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await echo.stop(None)


async def look(address):
    """Look two flows up in turns until standard input ends; print the 99th percentile of each, milliseconds."""
    over = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    times = {"small": [], "shared": []}
    async with grpc.aio.insecure_channel(address) as channel:
        method = channel.unary_unary("/go.micro.flow.FlowService/Lookup")
        requests = {name: pb.LookupRequest(flow=name).SerializeToString() for name in times}
        await method(requests["small"])
        print("looking", flush=True)
        while not over.done():
            for name, request in requests.items():
                begun = perf_counter()
                await method(request)
                times[name].append((perf_counter() - begun) * 1e3)
    print(*(sorted(found)[len(found) * 99 // 100] for found in times.values()))


if __name__ == "__main__":
    flow_core.run(look(f"127.0.0.1:{sys.argv[1]}") if len(sys.argv) > 1 else main())
