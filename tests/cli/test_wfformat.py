"""Reading WfFormat: what is read, and that each mistake is named with its place and a fix."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_core.demo.wfformat import BadFile, read_workflow, step_ids
from flow_core.model.ids import check_id

SAMPLE = Path(__file__).with_name("data") / "sample.json"
GOOD = json.loads(SAMPLE.read_text(encoding="utf-8"))

Change = Callable[[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]], Any]


def test_a_good_file_is_read():
    workflow = read_workflow(SAMPLE)
    assert workflow.name == "sample"
    assert workflow.ids == ["fetch one", "fetch_one", "merge", "report", "tidy"]
    assert workflow.runtimes == [1, 2, 3, 0.5, 0]
    assert [sorted(parents) for parents in workflow.parents] == [[], [], [0, 1], [2], [2]]
    assert workflow.one_sided == 1  # tidy says that it follows merge, merge does not
    length, nodes = workflow.graph().critical_path(workflow.runtimes)
    assert (length, [workflow.ids[node] for node in nodes]) == (5.5, ["fetch_one", "merge", "report"])


def write(folder: Path, change: Change) -> Path:
    root = copy.deepcopy(GOOD)
    change(root, root["workflow"]["specification"]["tasks"], root["workflow"]["execution"]["tasks"])
    file = folder / "bad.json"
    file.write_text(json.dumps(root), encoding="utf-8")
    return file


SPEC = "workflow.specification.tasks"
RECORDS = "workflow.execution.tasks"


@pytest.mark.parametrize(
    ("change", "place", "problem"),
    [  # r: the root, s: the specification's tasks, t: the execution's
        (lambda r, s, t: r.update(schemaVersion="1.4"), "schemaVersion", "'1.4'"),
        (lambda r, s, t: r.update(schemaVersion=1.5), "schemaVersion", "the number 1.5"),
        (lambda r, s, t: r.pop("schemaVersion"), "schemaVersion", "missing"),
        (lambda r, s, t: r.pop("workflow"), "workflow", "missing"),
        (lambda r, s, t: r.update(workflow=[]), "workflow", "is an array"),
        (lambda r, s, t: r["workflow"].pop("execution"), "workflow.execution", "missing"),
        (lambda r, s, t: r["workflow"]["specification"].pop("tasks"), SPEC, "missing"),
        (lambda r, s, t: s.clear(), SPEC, "empty"),
        (lambda r, s, t: s.append("x"), f"{SPEC}[5]", "is a string"),
        (lambda r, s, t: s[1].pop("id"), f"{SPEC}[1].id", "missing"),
        (lambda r, s, t: s[1].update(id=""), f"{SPEC}[1].id", "empty"),
        (lambda r, s, t: s[1].update(id=None), f"{SPEC}[1].id", "is null"),
        (lambda r, s, t: s[1].pop("children"), f"{SPEC}[1].children", "missing"),
        (lambda r, s, t: s[3].update(id="tidy"), f"{SPEC}[4].id", f"'tidy' is the id of {SPEC}[3]"),
        (lambda r, s, t: s[3].update(parents="merge"), f"{SPEC}[3].parents", "is a string"),
        (lambda r, s, t: s[3]["parents"].append("merg"), f"{SPEC}[3].parents[1]", "'merg'"),
        (lambda r, s, t: s[3]["parents"].append(3), f"{SPEC}[3].parents[1]", "the number 3"),
        (lambda r, s, t: s[0]["children"].insert(0, "x"), f"{SPEC}[0].children[0]", "'x'"),
        (lambda r, s, t: s[3]["parents"].append("report"), f"{SPEC}[3].parents[1]", "cycle: report -> report"),
        (lambda r, s, t: t.pop(1), RECORDS, "no record of task 'report'"),
        (lambda r, s, t: t[1].update(id="tidy"), f"{RECORDS}[1].id", f"{RECORDS}[0]"),
        (lambda r, s, t: t.append({"id": "x"}), f"{RECORDS}[5].id", "no task of the specification"),
        (lambda r, s, t: t[1].pop("runtimeInSeconds"), f"{RECORDS}[1].runtimeInSeconds", "missing"),
        (lambda r, s, t: t[1].update(runtimeInSeconds=-1), f"{RECORDS}[1].runtimeInSeconds", "is -1"),
        (lambda r, s, t: t[1].update(runtimeInSeconds="1"), f"{RECORDS}[1].runtimeInSeconds", "a string"),
        (lambda r, s, t: t[1].update(runtimeInSeconds=True), f"{RECORDS}[1].runtimeInSeconds", "true"),
        (lambda r, s, t: t[1].update(runtimeInSeconds=float("nan")), f"{RECORDS}[1].runtimeInSeconds", "nan"),
        (lambda r, s, t: t[1].update(runtimeInSeconds=float("inf")), f"{RECORDS}[1].runtimeInSeconds", "inf"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(tmp_path: Path, change: Change, place: str, problem: str):
    file = write(tmp_path, change)
    with pytest.raises(BadFile) as caught:
        read_workflow(file)
    assert caught.value.message.startswith(f"{file}: {place}: ")
    assert problem in caught.value.message
    assert caught.value.place == place
    assert caught.value.fix


def test_a_near_miss_is_suggested(tmp_path: Path):
    file = write(tmp_path, lambda r, s, t: s[3]["parents"].append("merg"))
    with pytest.raises(BadFile, match=r"fix: did you mean 'merge'\?"):
        read_workflow(file)


def test_a_cycle_is_told_as_a_path_at_an_order_that_closes_it(tmp_path: Path):
    def close(root: Any, spec: list[dict[str, Any]], records: Any) -> None:
        spec[1]["parents"].append("report")

    with pytest.raises(BadFile) as caught:
        read_workflow(write(tmp_path, close))
    place, _, cycle = caught.value.message.removeprefix(f"{tmp_path}/bad.json: ").partition(": closes a cycle: ")
    path = cycle.split(" -> ")
    assert path[0] == path[-1]
    assert set(path) == {"fetch_one", "merge", "report"}
    child = GOOD["workflow"]["specification"]["tasks"][int(place.split("[")[1].split("]")[0])]["id"]
    assert child == path[-1]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "line 1, column 1: is not JSON"),
        (b'{"name": }', "line 1, column 10: is not JSON"),
        (b"\xff\xfe\x00x", "is not JSON"),
        (b"[]", "holds an array instead of an object"),
        (b"[" * 100_000, "nested too deep"),
    ],
)
def test_what_is_not_json_is_refused(tmp_path: Path, content: bytes, problem: str):
    file = tmp_path / "bad.json"
    file.write_bytes(content)
    with pytest.raises(BadFile) as caught:
        read_workflow(file)
    assert problem in caught.value.message
    assert caught.value.fix


@pytest.mark.parametrize("name", ["missing.json", "."])
def test_what_is_no_file_is_refused(tmp_path: Path, name: str):
    with pytest.raises(BadFile, match="can't be read"):
        read_workflow(tmp_path / name)


@given(st.lists(st.text(st.sampled_from("ab _-2.é/"), min_size=1, max_size=5), unique=True))
def test_step_ids_are_legal_and_no_two_alike(names: list[str]):
    ids = step_ids(names)
    assert len(set(ids)) == len(names)
    for name, found in zip(names, ids, strict=True):
        check_id(found, "id")
        assert found == name or not set(name) <= set("ab_-2.")


def test_long_ids_that_differ_at_the_end_stay_apart():
    ids = step_ids(["x" * 300 + "a", "x" * 300 + "b"])
    assert len(set(ids)) == 2
    assert all(check_id(name, "id") for name in ids)
