"""The table of methods is what the schema says, and everything that is drawn from it is whole."""

import pytest

from flow_core.proto import flow_pb2 as pb
from flow_core.proto.methods import METHODS, SERVICES
from flow_core.service.security.roles import VERBS
from flow_core.service.server.executions import ExecutionMethods
from flow_core.service.server.flows import FlowMethods
from flow_core.service.server.watch import WatchMethods


def described():
    for service in pb.DESCRIPTOR.services_by_name.values():
        for method in service.methods:
            yield service.full_name, method


def test_every_method_of_the_schema_has_a_row_and_none_has_two():
    assert [(service, method.name) for service, method in described()] == [
        (m.service, m.name) for m in METHODS.values()
    ]
    assert tuple(dict.fromkeys(service for service, _ in described())) == SERVICES


@pytest.mark.parametrize(("service", "method"), list(described()), ids=lambda v: v if isinstance(v, str) else v.name)
def test_a_row_says_what_the_schema_says(service, method):
    row = METHODS[method.name]
    assert row.path == f"/{service}/{method.name}"
    assert (method.input_type, method.output_type) == (row.request.DESCRIPTOR, row.reply.DESCRIPTOR)
    streams = getattr(method, "client_streaming", row.stream_in), getattr(method, "server_streaming", row.stream_out)
    assert streams == (row.stream_in, row.stream_out)


def test_every_method_has_a_row_in_the_table_of_rights():
    assert VERBS.keys() == METHODS.keys()


def test_every_method_without_an_incoming_stream_has_a_handler():
    rooms = (FlowMethods, ExecutionMethods, WatchMethods)
    for row in METHODS.values():
        assert row.stream_in or sum(hasattr(room, row.python) for room in rooms) == 1


def test_python_names():
    assert METHODS["CreateStep"].python == "create_step"
    assert METHODS["Wait"].python == "wait"
