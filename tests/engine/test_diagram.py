"""Flows as text."""

from flow_core.catalog.diagram import edges_of, to_dot, to_mermaid
from flow_core.model.operation import LocalOperation
from flow_core.model.status import Status
from flow_core.model.step import ALL, Step
from tests.engine.script import work

STEPS = [
    Step("a", work),
    Step("b:1", work, after=["a", "late"], before="c"),
    Step("c", work, after="b:1"),
    Step("end", work, after=ALL),
]


def test_edges_in_the_order_of_their_declaration_each_once():
    assert edges_of(STEPS) == [("a", "b:1"), ("late", "b:1"), ("b:1", "c"), (ALL, "end")]


def test_mermaid():
    assert to_mermaid(STEPS, {"a": Status.SUCCESS, "c": Status.UNKNOWN, "gone": Status.FAILURE}).splitlines() == [
        "flowchart TD", '    n0["a"]', '    n1["b:1"]', '    n2["c"]', '    n3["end"]', '    n4(["late?"])',
        "    n5{{ALL}}", "    n0 --> n1", "    n4 --> n1", "    n1 --> n2", "    n5 --> n3",
        "    style n4 stroke-dasharray: 4", "    style n0 fill:#9fd89f",
    ]  # fmt: skip


def test_a_step_named_like_the_word_is_not_all():
    text = to_mermaid([Step("ALL", work), Step("end", work, after=ALL)])
    assert '["ALL"]' in text
    assert "{{ALL}}" in text


def test_fallbacks_are_drawn_and_their_names_escaped():
    named = LocalOperation(work, name='say "no"')
    assert 'n0 -. fallback .-> n0f["say #quot;no#quot;"]' in to_mermaid([Step("a", work, fallback=named)])


def test_dot():
    assert to_dot(STEPS, {"a": Status.RUNNING}).splitlines() == [
        "digraph flow {", "    rankdir=TB; node [shape=box, style=filled, fillcolor=white];",
        '    "a" [fillcolor="#a4c8f2"];', '    "b:1";', '    "c";', '    "end";', '    "late" [style=dashed];',
        '    "$all" [label="ALL", shape=hexagon];', '    "a" -> "b:1";', '    "late" -> "b:1";', '    "b:1" -> "c";',
        '    "$all" -> "end";', "}",
    ]  # fmt: skip


def test_an_empty_flow():
    assert to_mermaid([]) == "flowchart TD"
    assert to_dot([]).endswith("}")
