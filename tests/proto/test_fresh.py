"""The generated code is that of flow.proto, and the fields that others rely on never change their numbers.

Needs no protoc: the hashes noted by ``scripts/generate_proto`` are compared, and a small parser reads flow.proto.
"""

import hashlib
import re
from pathlib import Path

import pytest

from flow_core.proto import flow_pb2 as pb

FOLDER = Path(pb.__file__).parent
PROTO = FOLDER / "flow.proto"
SHA256 = Path(__file__).with_name("flow.sha256")
AGAIN = "run scripts/generate_proto and commit what changes"

#: Message -> field -> number, as the original had them.
ORIGINAL = {
    "Operation": {"name": 1, "type": 2, "options": 3},
    "Step": {"name": 1, "after": 2, "before": 3, "input": 4, "output": 5, "operation": 6, "fallback": 7},
    "Steps": {"steps": 1},
}


def parse(text):
    """Blocks of flow.proto: kind and name -> {field: (number, type)}. A oneof's fields are its message's."""
    text = re.sub(r"//[^\n]*", "", text)
    blocks, stack = {}, []
    for token in re.finditer(r"(message|enum|service|oneof)\s+(\w+)\s*\{|\}|([\w.<>, ]+?)\s*=\s*(\d+)\s*;", text):
        kind, name, left, number = token.groups()
        if kind:
            stack.append((kind, name) if kind != "oneof" else stack[-1])
            blocks.setdefault(stack[-1], {})
        elif left:
            *words, field = left.split()
            blocks[stack[-1]][field] = (int(number), "".join(words).removeprefix("optional").removeprefix("repeated"))
        elif token.group() == "}":
            stack.pop()
    return blocks


def test_hashes_match():
    for line in SHA256.read_text().splitlines():
        digest, name = line.split()
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == digest, f"{name} has changed: {AGAIN}"


def test_the_generated_code_has_what_flow_proto_says():
    blocks = parse(PROTO.read_text())
    messages = {name: fields for (kind, name), fields in blocks.items() if kind == "message"}
    enums = {name: values for (kind, name), values in blocks.items() if kind == "enum"}
    assert set(messages) == set(pb.DESCRIPTOR.message_types_by_name), AGAIN
    assert set(enums) == set(pb.DESCRIPTOR.enum_types_by_name), AGAIN
    for name, fields in messages.items():
        generated = {field.name: field.number for field in pb.DESCRIPTOR.message_types_by_name[name].fields}
        assert generated == {field: number for field, (number, _) in fields.items()}, f"{name}: {AGAIN}"
    for name, values in enums.items():
        generated = {value.name: value.number for value in pb.DESCRIPTOR.enum_types_by_name[name].values}
        assert generated == {value: number for value, (number, _) in values.items()}, f"{name}: {AGAIN}"


@pytest.mark.parametrize("name", ORIGINAL)
def test_the_originals_fields_keep_their_numbers(name):
    fields = {field.name: field.number for field in pb.DESCRIPTOR.message_types_by_name[name].fields}
    assert {key: value for key, value in fields.items() if value < 16} == ORIGINAL[name]
    assert pb.DESCRIPTOR.package == "go.micro.flow"
