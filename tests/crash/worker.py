"""An executor as a whole process, to be killed, frozen, or robbed of its disk.

It reads commands from stdin, one JSON object a line, the first of which says where to work; it prints one line for each
thing that it promises: ``started ID``, ``paused ID``, ``resumed ID``, ``ended ID STATUS``. It ends when stdin does.

Lives here: that process. Does not live here: who starts it (``lives.py``).
"""

import asyncio
import ctypes
import json
import logging
import os
import signal
import sys
import traceback

from flow_core import Executor, Flow, Status
from flow_core import run as run_flow_core
from flow_core.errors import Conflict, IllegalMove, LeaseLost, StoreError, StoreUnavailable, UnknownExecution
from flow_core.stores.sqlite import SqliteStore
from tests.crash.flows import SHAPES, World
from tests.crash.ledger import Ledger

#: Seconds between two looks at ``Journal.trouble``: of this process, so no test waits for it.
GLANCE = 0.002


def say(line):
    os.write(1, line.encode() + b"\n")


class Told(logging.Handler):
    """What the executor logs, among the other lines."""

    def emit(self, record):
        say(f"log {record.getMessage()}")


def make_store(url, *schema):
    """The store behind the arguments that a place gives."""
    if url.startswith("sqlite:"):
        return SqliteStore(url)
    from flow_core.stores.postgres import PostgresStore

    return PostgresStore(url, schema=schema[0])


def let_attach():
    """Let a strace that is no ancestor attach, where Linux asks for that (Yama)."""
    PR_SET_PTRACER, ANY = 0x59616D61, ctypes.c_ulong(-1)
    ctypes.CDLL(None).prctl(PR_SET_PTRACER, ANY, 0, 0, 0)


class Worker:
    """One executor on one store.

    Args:
        job: the first command: ``store`` (arguments of `make_store`), ``ledger``, ``life``, ``lease``.
        commands: asynchronous, the further ones.
    """

    def __init__(self, job, commands):
        self.job = job
        self.commands = commands
        self.ledger = Ledger(job["ledger"])
        self.world = World(self.ledger, job["life"], say, self.pause_soon, self.gate)
        self.tasks = set()
        self.watched = set()
        self.watching = set()
        self.pausing = set()
        self.at_gate = 0
        self.freeze_at = 0
        self.gate_open = asyncio.Event()
        self.gate_open.set()
        self.freeze_in_commit = False
        self.under_way = 0
        names = ("fenced", "claims", "claims_in_trouble", "renews", "renews_in_trouble")
        self.counts = dict.fromkeys(names, 0)

    @property
    def session(self):
        return self.executor._session

    # --- life ---------------------------------------------------------------------------------------------------------

    async def work(self):
        if self.job.get("attachable"):
            let_attach()
        store = make_store(*self.job["store"])
        self.count(store)
        self.executor = Executor(lease=self.job.get("lease", 15.0))
        self.flow = Flow(store=store, executor=self.executor)
        async with self.flow:
            for name in SHAPES:
                await self.flow.create_steps(name, self.world.steps(name))
            say("open")
            await self.adopt()
            self.spawn(self.look_round())
            self.spawn(self.watch_trouble())
            async for command in self.commands:
                if command["do"] == "stop":
                    break
                await getattr(self, command["do"])(**command)
            for task in [*self.tasks]:
                task.cancel()
        say("stopped")

    def count(self, store):
        """Count what the fences and faults of the suites are to lead to, and what is on its way to the store."""
        for name in ("commit", "claim", "renew", "list", "load", "owners"):
            setattr(store, name, self.counted(name, getattr(store, name)))

    def counted(self, name, method):
        async def call(*arguments, **options):
            if name == "commit" and self.freeze_in_commit:
                await self.freeze_now()
            elif name in ("claim", "renew"):
                self.counts[f"{name}s"] += 1
                self.counts[f"{name}s_in_trouble"] += self.troubled()
            self.under_way += 1
            try:
                return await method(*arguments, **options)
            except LeaseLost:
                self.counts["fenced"] += name == "commit"
                raise
            finally:
                self.under_way -= 1

        def shielded(*arguments, **options):
            # A task: the journal stops waiting when a heartbeat brings the news first, and the write is refused still.
            task = asyncio.ensure_future(call(*arguments, **options))
            task.add_done_callback(lambda task: task.cancelled() or task.exception())
            return asyncio.shield(task)

        return shielded if name == "commit" else call

    def troubled(self):
        session = self.session
        return session is not None and session.journal.trouble is not None

    def spawn(self, work):
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.done)
        return task

    def spawn_watch(self, work):
        task = self.spawn(work)
        self.watching.add(task)
        task.add_done_callback(self.watching.discard)

    def done(self, task):
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            traceback.print_exception(task.exception())
            os._exit(3)

    # --- executions ---------------------------------------------------------------------------------------------------

    async def start(self, starts, **_):
        """Start executions, [id, flow] each, and tell of each when that is recorded, and when it is over."""
        for id_, flow in starts:
            self.watched.add(id_)
            self.spawn_watch(self.start_one(id_, flow))

    async def start_one(self, id_, flow):
        while True:
            try:
                handle = await self.flow.execute(flow, {"id": id_}, id=id_, async_=True)
                say(f"started {id_}")
                self.tell_end(id_, await handle.wait())
                return
            except StoreUnavailable:
                await asyncio.sleep(10 * GLANCE)  # as a client does
            except (StoreError, IllegalMove):  # fenced meanwhile: it is under way elsewhere, or was never begun
                say(f"lost {id_}")
                self.watched.discard(id_)
                return

    async def adopt(self):
        """Watch what was left unfinished by others, and resume what is paused."""
        for status in (Status.PAUSED, Status.RUNNING):
            cursor = None
            while True:
                page = await self.executor.list(status=status, limit=1000, cursor=cursor)
                for info in page.items:
                    self.adopt_one(info)
                if (cursor := page.cursor) is None:
                    break

    def adopt_one(self, info):
        id_ = info.execution
        if id_ not in self.watched:
            self.watched.add(id_)
            self.spawn_watch(self.watch(info))
        if info.status is Status.PAUSED and id_ not in self.pausing:
            # Its process paused it and could not resume it any more, or it is taken for poison.
            self.pausing.add(id_)
            self.spawn(self.resume_found(info))

    async def watch(self, info):
        id_ = info.execution
        while True:
            try:
                await self.session.recovery.settled(id_)
                self.tell_end(id_, await self.executor.wait(info.flow, id_))
                return
            except (StoreUnavailable, IllegalMove, UnknownExecution):
                await asyncio.sleep(10 * GLANCE)  # it is another process's, as yet

    async def resume_found(self, info):
        try:
            await self.session.recovery.settled(info.execution)
            await self.resume(self.executor.find(info.flow, info.execution))
        except (StoreError, IllegalMove, UnknownExecution):
            pass  # it ended just now, or is another process's
        finally:
            self.pausing.discard(info.execution)

    def tell_end(self, id_, status):
        if status is Status.STOPPED:
            say(f"lost {id_}")
            self.watched.discard(id_)
        else:
            say(f"ended {id_} {status.name}")

    def pause_soon(self, execution):
        self.pausing.add(execution.id)
        self.spawn(self.pause(execution))

    async def pause(self, execution):
        try:
            await execution.pause()
            self.ledger.write(what="paused", execution=execution.id)
            say(f"paused {execution.id}")
            await self.look_at_store()  # a way there and back, for what must not happen meanwhile
            await self.resume(execution)
        except (LeaseLost, Conflict, IllegalMove):
            pass  # fenced meanwhile
        finally:
            self.pausing.discard(execution.id)

    async def look_at_store(self):
        try:
            await self.executor.list(limit=1)
        except StoreUnavailable:
            pass  # a faulty disk

    async def resume(self, execution):
        self.ledger.write(what="resume", execution=execution.id)
        await execution.resume()
        say(f"resumed {execution.id}")

    # --- commands -----------------------------------------------------------------------------------------------------

    async def drain(self, **_):
        """Wait until nothing in the store is unfinished."""
        while self.watching or await self.unfinished():
            await self.adopt_if_possible()
            if self.watching:
                # Not without an end: what the executor pauses later on has to be resumed.
                await asyncio.wait(self.watching, timeout=10 * GLANCE, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(GLANCE)
        say("drained")

    async def unfinished(self):
        try:
            pages = [await self.executor.list(status=status, limit=1) for status in (Status.RUNNING, Status.PAUSED)]
        except StoreUnavailable:
            return True
        return any(page.items for page in pages)

    async def adopt_if_possible(self):
        try:
            await self.adopt()
        except StoreUnavailable:
            pass  # the next time

    async def close_gate(self, **_):
        """Let no step of the gated flows past its gate."""
        self.gate_open.clear()

    async def open_gate(self, **_):
        self.gate_open.set()

    async def freeze(self, at, **_):
        """Close the gate until ``at`` steps wait there, and have this process stop itself before it can record them."""
        self.gate_open.clear()
        self.freeze_at = at
        say("armed")

    async def gate(self):
        self.at_gate += 1
        if self.at_gate == self.freeze_at:
            self.freeze_at = 0
            self.freeze_in_commit = True
            self.gate_open.set()
        try:
            await self.gate_open.wait()
        finally:
            self.at_gate -= 1

    async def freeze_now(self):
        self.freeze_in_commit = False
        # Outside of any transaction: who is frozen inside of one holds the file's lock, and nobody goes on.
        while self.under_way:
            await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGSTOP)

    async def report(self, **_):
        statistics = self.executor.statistics()
        say("report " + json.dumps({**self.counts, "lost": statistics.lost, "recovered": statistics.recovered}))

    async def explain(self, execution, **_):
        found = await self.executor.explain(None, execution)
        say("explained " + " ".join(reason.kind for reason in found.reasons))

    # --- looking ------------------------------------------------------------------------------------------------------

    async def look_round(self):
        while True:
            await asyncio.sleep(self.executor.options.lease / 3)
            await self.adopt_if_possible()

    async def watch_trouble(self):
        told = None
        while True:
            trouble = self.session.journal.trouble
            if (None if trouble is None else trouble.code) != told:
                told = None if trouble is None else trouble.code
                say(f"trouble {told}")
            await asyncio.sleep(GLANCE)


async def commands():
    """What stdin says; when it ends nobody wants anything of this process any more."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield json.loads(line)
    os._exit(0)


async def main():
    told = commands()
    say("hello")
    async for job in told:  # one after the other: a process may recover many stores
        await Worker(job, told).work()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, handlers=[Told()])
    run_flow_core(main())
