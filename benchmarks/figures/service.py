"""What the network service costs: a client process and a server process, over loopback.

`unary_ratio`: unary calls of `Execute`, for a flow of one step that answers with what it gets, over calls of a bare
grpc.aio server that takes and gives the same messages and does nothing else, in the same process, 64 in flight, in
turns; the median of the rounds. `many_per_s`: executions of an 8-step flow over one stream of `ExecuteMany`, by the
client of the package, each outcome read.
`lookup_p99_ms`: lookups from another process while 50 clients register, replace and delete 10,000 steps of one flow as
fast as the server takes them; of another flow of 8 steps, and (`big_`) of the flow that they change.
"""

import asyncio
import subprocess
import sys
from statistics import median
from time import perf_counter

import grpc.aio

from benchmarks.figures.rpc import drive
from flow_core import ClientCallOperation, Step, connect, run
from flow_core.proto import flow_pb2 as pb

label = "the service over loopback: unary calls, batches, lookups while 50 clients change a flow"
units = {
    "echo_per_s": "/s",
    "unary_per_s": "/s",
    "unary_ratio": "x",
    "many_per_s": "/s",
    "changes_per_s": "/s",
    "lookup_p99_ms": "ms",
    "big_lookup_p99_ms": "ms",
    "lost_updates": "",
}

PAYLOAD = b"x" * 64
CLIENTS, STEPS = 50, 10_000


class Process:
    """A process of ``_service.py``; it has told its first line, and ends with its standard input."""

    def __init__(self, *arguments):
        command = [sys.executable, "-m", "benchmarks.figures._service", *map(str, arguments)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.first = self.process.stdout.readline().split()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.last = self.process.stdout.read().split()
        self.process.stdout.close()
        self.process.wait(30)


class Server(Process):
    @property
    def flow(self):
        return int(self.first[0])

    @property
    def echo(self):
        return int(self.first[1])


class Looker(Process):
    """Looks up, as fast as it is answered, until it is left."""

    def __init__(self, server):
        super().__init__(server.flow)

    @property
    def found(self):
        return {"lookup_p99_ms": float(self.last[0]), "big_lookup_p99_ms": float(self.last[1])}


async def unary(server, count, repeat):
    request = pb.ExecuteRequest(flow="one", data=PAYLOAD, wait=True).SerializeToString()
    async with (
        grpc.aio.insecure_channel(f"127.0.0.1:{server.echo}") as echo,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.flow}") as flow,
    ):
        ways = {
            "echo": echo.unary_unary("/echo/Echo"),
            "unary": flow.unary_unary("/go.micro.flow.ExecutorService/Execute"),
        }
        found = {"echo": [], "unary": []}
        for number in range(repeat + 1):
            for name in sorted(ways, reverse=bool(number % 2)):
                method = ways[name]
                seconds, _, _ = await drive(lambda method=method: method(request), count)
                if number:  # the first round connects
                    found[name].append(seconds)
    pairs = zip(found["echo"], found["unary"], strict=True)
    rates = {f"{name}_per_s": count / median(seconds) for name, seconds in found.items()}
    return {**rates, "unary_ratio": median(echo / ours for echo, ours in pairs)}


async def many(server, count, repeat):
    rates = []
    async with connect(f"grpc://127.0.0.1:{server.flow}") as flow:
        for _ in range(repeat + 1):
            begun, seen = perf_counter(), 0
            async for outcome in flow.execute_many("small", (PAYLOAD for _ in range(count)), batch=512):
                if outcome.error is not None:
                    raise outcome.error
                seen += 1
            assert seen == count
            rates.append(count / (perf_counter() - begun))
    return {"many_per_s": median(rates[1:])}


async def contention(server, steps):
    """50 clients, each on a connection of its own, change one flow; another process looks flows up meanwhile."""
    clients = [connect(f"grpc://127.0.0.1:{server.flow}") for _ in range(CLIENTS)]
    per_client = steps // CLIENTS
    revisions: set[int] = set()
    changes = 0

    async def change(number, client):
        nonlocal changes
        owner = f"service-{number}"
        for n in range(per_client):
            step = Step(f"s{number}-{n}", ClientCallOperation(owner, "work"))
            made = [await client.create_step("shared", step, owner=owner)]
            if n % 4 == 1:
                made.append(await client.replace_step("shared", step, Step(step.id, step.operation, timeout=5.0)))
            if n % 4 == 3:
                made.append(await client.delete_step("shared", step))
            revisions.update(made)
            changes += len(made)

    await clients[0].create_step("shared", Step("first", ClientCallOperation("first", "work")), owner="first")
    with Looker(server) as looker:
        begun = perf_counter()
        await asyncio.gather(*(change(number, client) for number, client in enumerate(clients)))
        seconds = perf_counter() - begun
    left = len(await clients[0].lookup("shared")) - 1
    wanted = CLIENTS * sum(n % 4 != 3 for n in range(per_client))
    for client in clients:
        await client.close()
    lost = abs(left - wanted) + (changes - len(revisions))
    return {"changes_per_s": changes / seconds, **looker.found, "lost_updates": lost}


def measure(quick: bool = False) -> dict[str, float]:
    count, repeat = (200, 10) if quick else (400, 60)
    with Server() as server:
        result = run(unary(server, count, repeat))
        result |= run(many(server, 10_000 if quick else 50_000, 1 if quick else 5))
        return result | run(contention(server, STEPS // (20 if quick else 1)))
