"""Run and Stepper: an execution stepped by hand, its invariants checked after every move.

Lives here: moves of steps, joins, what a failure brings about, random walks against the order of the graph, outputs and
the garbage collector. Does not live here: calling anything (``test_scheduler.py``).
"""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_core.core.plan import Flag, Join, Plan
from flow_core.core.run import Run
from flow_core.core.status_table import StatusTable
from flow_core.core.stepper import Stepper
from flow_core.errors import InternalError, MissingInput
from flow_core.model.status import Status
from tests.core.kit import Held, echo, fan, line, plan_of

ENDED = {Status.SUCCESS, Status.FAILURE, Status.SKIPPED, Status.ABORTED, Status.STOPPED}
PENDING, RUNNING, SUCCESS, FAILURE, SKIPPED = (
    Status.PENDING,
    Status.RUNNING,
    Status.SUCCESS,
    Status.FAILURE,
    Status.SKIPPED,
)


def diamond(**configured: Any) -> Plan:
    """a -> b, c -> d."""
    return plan_of(dict.fromkeys("abcd", echo), {"b": "a", "c": "a", "d": "bc"}, configured)


def stepped(plan: Plan, request: object = None) -> Stepper:
    return Stepper(Run(plan, request))


def statuses(run: Stepper) -> list[Status]:
    run.check()
    return [Status(number) for number in run.statuses()]


def test_a_line_from_end_to_end() -> None:
    run = stepped(line(echo, echo, echo), "request")
    for wanted in range(3):
        assert run.ready_steps == [wanted] and not run.finished
        assert run.input(wanted) == ("request" if wanted == 0 else wanted - 1)
        assert run.take() == wanted and run.take() is None
        assert run.step_status(wanted) == RUNNING and run.counts == (3, 1, wanted, 0, 0)
        run.check()
        run.succeed(wanted, wanted)
        run.check()
    assert run.finished and run.take() is None and run.counts == (3, 0, 3, 0, 0)
    assert [run.output(v) for v in range(3)] == [0, 1, 2]


def test_a_diamond_joins_once() -> None:
    run = stepped(diamond())
    run.succeed(run.take(), "a")
    b, c = run.take(), run.take()
    assert {b, c} == {1, 2} and run.take() is None
    run.succeed(c, "C")
    assert run.take() is None
    run.succeed(b, "B")
    assert run.take() == 3 and run.take() is None
    assert run.input(3) == {"b": "B", "c": "C"}
    run.succeed(3)
    assert run.finished and run.has_output(3) and run.output(3) is None
    run.check()


def test_a_failure_skips_what_needs_it() -> None:
    run = stepped(diamond())
    run.succeed(run.take())
    assert run.take() == 1
    run.fail(1)
    assert statuses(run) == [SUCCESS, FAILURE, PENDING, SKIPPED]
    assert run.take() == 2
    run.succeed(2)
    assert run.finished and run.counts == (4, 0, 2, 1, 1)


def test_a_failure_that_is_allowed_counts_as_an_end() -> None:
    run = stepped(diamond(b={"flags": Flag.FLAG_ALLOW_FAIL}))
    run.succeed(run.take())
    run.fail(run.take())
    assert statuses(run) == [SUCCESS, FAILURE, PENDING, PENDING]
    run.succeed(run.take(), "C")
    assert run.take() == 3 and run.input(3) == {"c": "C"}
    run.succeed(3)
    assert run.finished


def test_any_starts_with_the_first_and_only_once() -> None:
    run = stepped(diamond(d={"join": Join.JOIN_ANY}))
    run.succeed(run.take())
    b, c = run.take(), run.take()
    run.succeed(b)
    assert run.take() == 3
    run.succeed(3)
    run.check()
    run.succeed(c)
    run.check()
    assert run.take() is None and run.finished


@pytest.mark.parametrize("join", [Join.JOIN_ANY, Join.JOIN_DONE])
def test_any_and_done_when_one_fails(join: Join) -> None:
    run = stepped(diamond(d={"join": join}))
    run.succeed(run.take())
    run.fail(run.take())
    assert statuses(run)[3] == PENDING
    run.succeed(run.take())
    assert run.take() == 3
    run.succeed(3)
    assert run.finished and run.counts == (4, 0, 3, 1, 0)
    run.check()


@pytest.mark.parametrize(("join", "end"), [(Join.JOIN_ANY, SKIPPED), (Join.JOIN_DONE, PENDING)])
def test_any_and_done_when_all_fail(join: Join, end: Status) -> None:
    run = stepped(diamond(d={"join": join}))
    run.succeed(run.take())
    run.fail(run.take())
    run.fail(run.take())
    assert statuses(run)[3] == end
    assert run.take() == (3 if end == PENDING else None)


def test_skipping_reaches_all_descendants_of_a_long_line() -> None:
    run = stepped(line(*[echo] * 50_000))
    run.fail(run.take())
    assert run.finished and run.counts == (50_000, 0, 0, 1, 49_999)
    run.check()


def test_skip_by_a_condition() -> None:
    run = stepped(line(echo, echo))
    run.skip(0)
    assert statuses(run) == [SKIPPED, SKIPPED] and run.finished and run.take() is None


def test_a_retry_counts_attempts_and_waits_to_be_queued() -> None:
    run = stepped(line(echo, echo))
    for attempt in (1, 2, 3):
        assert run.take() == 0 and run.attempt(0) == attempt
        run.retry(0)
        run.check()
        assert run.step_status(0) == PENDING and run.take() is None and run.attempt(0) == attempt + 1
        run.requeue(0)
    run.succeed(run.take())
    run.check()
    assert run.attempt(0) == 4 and run.attempt(1) == 1


def test_queueing_more_than_there_are_steps_is_refused() -> None:
    run = stepped(line(echo))
    with pytest.raises(InternalError, match="queued twice"):
        run.requeue(0)


def test_failing_fast_skips_what_has_not_started() -> None:
    functions = dict.fromkeys("abcde", echo)
    plan = plan_of(functions, {"b": "a", "c": "b", "e": "c"}, {"e": {"join": Join.JOIN_DONE}})
    run = stepped(plan)
    assert [run.take(), run.take()] == [0, 3]
    run.fail(0)
    run.fail_fast()
    assert run.failing and statuses(run) == [FAILURE, SKIPPED, SKIPPED, RUNNING, PENDING]
    run.succeed(3)
    assert run.take() == 4  # the clean-up
    run.succeed(4)
    assert run.finished
    run.check()


def test_failing_fast_leaves_a_step_that_waits_for_its_retry() -> None:
    run = stepped(fan(2, echo))
    run.take(), run.take()
    run.retry(0)
    run.fail(1)
    run.fail_fast()
    assert statuses(run) == [PENDING, FAILURE]
    run.requeue(0)
    assert run.take() == 0


def test_recall_counts_as_success() -> None:
    run = stepped(diamond())
    run.recall(0, "A")
    run.recall(1, "B")
    run.check()
    assert run.counts == (4, 0, 2, 0, 0) and run.take() == 2 and run.input(2) == "A"
    run.succeed(2, "C")
    assert run.take() == 3 and run.input(3) == {"b": "B", "c": "C"}


def test_abandon_one_and_all() -> None:
    run = stepped(diamond())
    run.succeed(run.take())
    run.take()
    run.abandon(1, Status.ABORTED)
    assert statuses(run) == [SUCCESS, Status.ABORTED, PENDING, SKIPPED]
    run.abandon_all(Status.STOPPED)
    assert statuses(run) == [SUCCESS, Status.ABORTED, Status.STOPPED, SKIPPED] and run.finished
    for refused in (run.abandon, lambda _, status: run.abandon_all(status)):
        with pytest.raises(ValueError, match="not SUCCESS"):
            refused(0, SUCCESS)


def test_moves_that_are_refused() -> None:
    run = stepped(line(echo, echo))
    for move, index in ((run.succeed, 0), (run.fail, 1), (run.retry, 0)):
        with pytest.raises(ValueError, match="not RUNNING"):
            move(index)
    run.succeed(run.take())
    for move in (run.skip, lambda index: run.abandon(index, Status.ABORTED)):
        with pytest.raises(InternalError, match="can't end"):
            move(0)
    for reader in (run.step_status, run.output, run.times, run.attempt, run.input, run.has_output):
        for index in (-1, 2, 2**40):
            with pytest.raises(IndexError):
                reader(index)
    with pytest.raises(ValueError, match="not PENDING"):
        run.recall(0, None)
    run.check()


def test_a_refused_success_keeps_no_reference() -> None:
    class Output:
        pass

    run, output = stepped(line(echo)), Output()
    dead = weakref.ref(output)
    with pytest.raises(ValueError, match="not RUNNING"):
        run.succeed(0, output)
    del output
    gc.collect()
    assert dead() is None


def test_times_and_status_of_the_execution() -> None:
    run = stepped(line(echo))
    assert run.times(0) == (None, None) and run.status_number == PENDING
    for status in (RUNNING, Status.PAUSED, FAILURE, SUCCESS, SKIPPED):
        before = run.status_number
        if StatusTable.legal(before, status):
            run.move(status)
        else:
            with pytest.raises(ValueError, match=f"can't go from {Status(before).name} to {status.name}"):
                run.move(status)
        assert run.status_number in (before, status)
    assert run.intent == 0
    run.ask(2)
    assert run.intent == 2


def test_no_steps_at_all() -> None:
    run = stepped(plan_of({}))
    assert run.finished and run.take() is None and run.statuses() == b"" and run.counts == (0, 0, 0, 0, 0)
    run.check()


def test_missing_outside_input() -> None:
    plan = plan_of({"a": echo}, None, {"a": {"source": -4, "mapping": "elsewhere"}})
    with pytest.raises(MissingInput, match="elsewhere"):
        stepped(plan).input(0)


def test_prepared_twice_is_refused() -> None:
    run = Run(line(echo))
    with pytest.raises(ValueError, match="prepared already"):
        run.__init__(line(echo))  # type: ignore[misc]


# --- random walks -----------------------------------------------------------------------------------------------------

dags = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        st.just(n),
        st.sets(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda e: e[0] < e[1]), max_size=30),
        st.lists(st.sampled_from(list(Join)), min_size=n, max_size=n),
        st.lists(st.booleans(), min_size=n, max_size=n),
    )
)


def may_start(v: int, before: list[int], join: Join, now: list[Status], allowed: list[bool]) -> bool:
    """Whether the rules of joins let a step start: the model."""
    good = [now[u] == SUCCESS or (now[u] == FAILURE and allowed[u]) for u in before]
    if join == Join.JOIN_ALL:
        return all(good)
    if join == Join.JOIN_ANY:
        return any(good) or not before
    return all(now[u] in ENDED for u in before)


@given(dags, st.data())
def test_random_walks_keep_every_invariant(dag: Any, data: st.DataObject) -> None:
    n, edges, joins, allowed = dag
    names = [f"s{v}" for v in range(n)]
    before = [[u for u, w in edges if w == v] for v in range(n)]
    plan = plan_of(
        dict.fromkeys(names, echo),
        {names[v]: [names[u] for u in before[v]] for v in range(n)},
        {names[v]: {"join": joins[v], "flags": Flag.FLAG_ALLOW_FAIL * allowed[v]} for v in range(n)},
    )
    run, running, waiting = stepped(plan), [], []
    while not run.finished:
        now = statuses(run)
        moves = ["take"] * bool(run.ready_steps) + ["end"] * bool(running) + ["requeue"] * bool(waiting)
        assert moves, f"nothing is under way, but {now} is not the end"
        move = data.draw(st.sampled_from(moves))
        if move == "take":
            v = run.take()
            assert v is not None and now[v] == PENDING and may_start(v, before[v], joins[v], now, allowed)
            running.append(v)
        elif move == "requeue":
            run.requeue(waiting.pop(data.draw(st.integers(0, len(waiting) - 1))))
        else:
            v = running.pop(data.draw(st.integers(0, len(running) - 1)))
            end = data.draw(st.sampled_from(["succeed", "succeed", "fail", "skip", "retry"]))
            getattr(run, end)(v)
            if end == "retry":
                waiting.append(v)
    assert all(status in ENDED for status in statuses(run))
    assert run.take() is None and not running and not waiting


# --- outputs and the garbage collector --------------------------------------------------------------------------------


def test_an_output_that_refers_back_is_collected() -> None:
    run = Held(line(echo, echo))
    stepper = Stepper(run)
    stepper.succeed(stepper.take(), [run, {"again": run}])
    dead = weakref.ref(run)
    assert gc.is_tracked(run)
    del run, stepper
    gc.collect()
    assert dead() is None


def test_outputs_die_with_the_run_and_not_before() -> None:
    class Output:
        pass

    run = stepped(line(echo, echo))
    run.succeed(run.take(), Output())
    dead = weakref.ref(run.output(0))
    gc.collect()
    assert dead() is run.output(0)
    del run
    assert dead() is None
