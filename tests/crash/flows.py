"""The flows that the crash suites run, and what has to come of each of them, however often its process dies.

Lives here: `SHAPES`, which both the steps and the judgement are made of, and `World`, the steps' functions. Does not
live here: who runs them (``worker.py``), the judgement (``judge.py``).

The output of a step carries a token that no other attempt has. So the judge can tell whether a step was ever given an
output that is not the recorded one.
"""

import json
import secrets
from typing import NamedTuple

from flow_core import FlowExecuteOperation, Retry, Step


class Spec(NamedTuple):
    """What kind of step, and the steps that it runs after."""

    kind: str
    after: tuple[str, ...] = ()


#: What only an execution that is to fail has.
DOOMED = "doomed"
SHAPES = {
    # The scenario of the crash-point walk.
    "walk": {
        "reserve": Spec("undone"),
        "a": Spec("plain", ("reserve",)),
        "b": Spec("plain", ("reserve",)),
        "c": Spec("plain", ("reserve",)),
        "shaky": Spec("shaky", ("reserve",)),
        "backed": Spec("backed", ("reserve",)),
        "gather": Spec("plain", ("a", "b", "c", "shaky", "backed")),
        "hold": Spec("pausing", ("gather",)),
        "child": Spec("nest", ("hold",)),
        "once": Spec("once", ("hold",)),
        "charge": Spec("undone", ("child", "once")),
        "doom": Spec(DOOMED, ("charge",)),
    },
    "leaf": {"leaf": Spec("plain")},
    "line": {"first": Spec("plain"), "second": Spec("plain", ("first",)), "third": Spec("plain", ("second",))},
    "fan": {
        "root": Spec("plain"),
        **{f"wide-{n}": Spec("plain", ("root",)) for n in range(8)},
        "gather": Spec("plain", tuple(f"wide-{n}" for n in range(8))),
    },
    "retried": {"shaky": Spec("shaky"), "backed": Spec("backed", ("shaky",)), "tail": Spec("plain", ("backed",))},
    "saga": {
        "reserve": Spec("undone"),
        "charge": Spec("undone", ("reserve",)),
        "ship": Spec("undone", ("charge",)),
        "doom": Spec(DOOMED, ("ship",)),
    },
    "nested": {"root": Spec("plain"), "child": Spec("nest", ("root",)), "tail": Spec("plain", ("child",))},
    "careful": {
        "root": Spec("plain"),
        "once-1": Spec("once", ("root",)),
        "once-2": Spec("once", ("root",)),
        "tail": Spec("plain", ("root", "once-1", "once-2")),
    },
    "paused": {"root": Spec("plain"), "hold": Spec("pausing", ("root",)), "tail": Spec("plain", ("hold",))},
    # Of the episodes with a frozen process.
    "gated": {"root": Spec("plain"), "gate": Spec("gated", ("root",)), "tail": Spec("plain", ("gate",))},
}  # fmt: skip
#: What a loaded executor runs, the short ones more often.
LOAD = ("line", "line", "line", "fan", "retried", "saga", "nested", "careful", "paused", "walk")


class World:
    """The functions of the steps: each leaves a line in the ledger before anything else.

    Args:
        ledger: a `Ledger`.
        life: which process this is.
        say: called with a line for whoever watches.
        pause: called with an execution that is to be paused, and resumed.
        gate: awaited by the steps that wait together.
    """

    def __init__(self, ledger, life, say, pause, gate):
        self._ledger = ledger
        self._life = life
        self._say = say
        self._pause = pause
        self._gate = gate

    def steps(self, flow):
        """The steps of a flow."""
        return [self._step(name, *spec) for name, spec in SHAPES[flow].items()]

    def _step(self, name, kind, after):
        retry = Retry(2, initial=0.001)
        operation, options = {
            "plain": (self.plain, {}),
            "shaky": (self.shaky, {"retry": retry}),
            "backed": (self.broken, {"fallback": self.plain, "retry": 0}),
            "undone": (self.plain, {"compensation": self.plain}),
            "pausing": (self.pausing, {}),
            "nest": (FlowExecuteOperation("leaf"), {}),
            "once": (self.plain, {"delivery": "at_most_once", "allow_fail": True}),
            "gated": (self.gated, {}),
            DOOMED: (self.broken, {}),
        }[kind]
        join = {"join": "done"} if any(pre.startswith("once") for pre in after) else {}
        return Step(name, operation, after=after, **options, **join)

    def effect(self, ctx, value):
        """Leave a line, and make the output that goes with it."""
        token = secrets.token_hex(8)
        self._ledger.write(
            what="effect", life=self._life, execution=ctx.execution, flow=ctx.flow, step=ctx.step,
            activity=ctx.activity, attempt=ctx.attempt, key=ctx.headers()["flow-idempotency-key"], token=token,
            inputs=sorted(tokens(value)),
        )  # fmt: skip
        self._say("effect")
        return {"step": ctx.step, "token": token}

    async def plain(self, ctx, value):
        return self.effect(ctx, value)

    async def shaky(self, ctx, value):
        made = self.effect(ctx, value)
        if ctx.attempt < 3:
            raise RuntimeError(f"shaky: attempt {ctx.attempt}")
        return made

    async def broken(self, ctx, value):
        self.effect(ctx, value)
        raise RuntimeError("broken")

    async def pausing(self, ctx, value):
        made = self.effect(ctx, value)
        self._pause(ctx.run)
        return made

    async def gated(self, ctx, value):
        made = self.effect(ctx, value)
        await self._gate()
        return made


def tokens(value):
    """All tokens in a value; of bytes, in what they are the JSON of."""
    if isinstance(value, bytes):
        value = json.loads(value) if value else None
    if isinstance(value, dict):
        own = {value["token"]} if "token" in value else set()
        return own.union(*map(tokens, value.values()))
    return set()
