from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

ABORTED: Status
DELIVERY_AT_LEAST_ONCE: Delivery
DELIVERY_AT_MOST_ONCE: Delivery
DELIVERY_UNSPECIFIED: Delivery
DESCRIPTOR: _descriptor.FileDescriptor
FAILURE: Status
FALLBACK_THEN_CONTINUE: FallbackThen
FALLBACK_THEN_FAIL: FallbackThen
FALLBACK_THEN_UNSPECIFIED: FallbackThen
JITTER_FULL: Jitter
JITTER_NONE: Jitter
JITTER_UNSPECIFIED: Jitter
JOIN_ALL: Join
JOIN_ANY: Join
JOIN_DONE: Join
JOIN_UNSPECIFIED: Join
PAUSED: Status
PENDING: Status
RUNNING: Status
SKIPPED: Status
STOPPED: Status
SUCCESS: Status
UNKNOWN: Status

class AbortRequest(_message.Message):
    __slots__ = ["flow", "id", "rollback"]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    ROLLBACK_FIELD_NUMBER: _ClassVar[int]
    flow: str
    id: str
    rollback: bool
    def __init__(self, flow: _Optional[str] = ..., id: _Optional[str] = ..., rollback: bool = ...) -> None: ...

class AuditEntry(_message.Message):
    __slots__ = ["flow", "new_hash", "old_hash", "principal", "revision", "step", "time_utc", "verb"]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    NEW_HASH_FIELD_NUMBER: _ClassVar[int]
    OLD_HASH_FIELD_NUMBER: _ClassVar[int]
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TIME_UTC_FIELD_NUMBER: _ClassVar[int]
    VERB_FIELD_NUMBER: _ClassVar[int]
    flow: str
    new_hash: str
    old_hash: str
    principal: str
    revision: int
    step: str
    time_utc: float
    verb: str
    def __init__(self, time_utc: _Optional[float] = ..., principal: _Optional[str] = ..., verb: _Optional[str] = ..., flow: _Optional[str] = ..., revision: _Optional[int] = ..., step: _Optional[str] = ..., old_hash: _Optional[str] = ..., new_hash: _Optional[str] = ...) -> None: ...

class AuditReply(_message.Message):
    __slots__ = ["entries", "next"]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[AuditEntry]
    next: str
    def __init__(self, entries: _Optional[_Iterable[_Union[AuditEntry, _Mapping]]] = ..., next: _Optional[str] = ...) -> None: ...

class AuditRequest(_message.Message):
    __slots__ = ["cursor", "flow", "limit"]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    cursor: str
    flow: str
    limit: int
    def __init__(self, flow: _Optional[str] = ..., limit: _Optional[int] = ..., cursor: _Optional[str] = ...) -> None: ...

class Call(_message.Message):
    __slots__ = ["data", "endpoint", "headers", "number", "timeout"]
    class HeadersEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DATA_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    endpoint: str
    headers: _containers.ScalarMap[str, str]
    number: int
    timeout: float
    def __init__(self, number: _Optional[int] = ..., endpoint: _Optional[str] = ..., data: _Optional[bytes] = ..., headers: _Optional[_Mapping[str, str]] = ..., timeout: _Optional[float] = ...) -> None: ...

class CallAnswer(_message.Message):
    __slots__ = ["data", "error", "number"]
    DATA_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    error: CallError
    number: int
    def __init__(self, number: _Optional[int] = ..., data: _Optional[bytes] = ..., error: _Optional[_Union[CallError, _Mapping]] = ...) -> None: ...

class CallCancelled(_message.Message):
    __slots__ = ["number"]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    number: int
    def __init__(self, number: _Optional[int] = ...) -> None: ...

class CallError(_message.Message):
    __slots__ = ["message", "permanent", "retry_after"]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PERMANENT_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    message: str
    permanent: bool
    retry_after: float
    def __init__(self, message: _Optional[str] = ..., permanent: bool = ..., retry_after: _Optional[float] = ...) -> None: ...

class Change(_message.Message):
    __slots__ = ["created", "deleted", "principal", "replaced", "time_utc"]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    REPLACED_FIELD_NUMBER: _ClassVar[int]
    TIME_UTC_FIELD_NUMBER: _ClassVar[int]
    created: _containers.RepeatedCompositeFieldContainer[Step]
    deleted: str
    principal: str
    replaced: str
    time_utc: float
    def __init__(self, created: _Optional[_Iterable[_Union[Step, _Mapping]]] = ..., deleted: _Optional[str] = ..., replaced: _Optional[str] = ..., principal: _Optional[str] = ..., time_utc: _Optional[float] = ...) -> None: ...

class ChangeReply(_message.Message):
    __slots__ = ["revision"]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    revision: int
    def __init__(self, revision: _Optional[int] = ...) -> None: ...

class CreateStepRequest(_message.Message):
    __slots__ = ["flow", "lease", "owner", "revision", "steps"]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    flow: str
    lease: float
    owner: str
    revision: int
    steps: _containers.RepeatedCompositeFieldContainer[Step]
    def __init__(self, flow: _Optional[str] = ..., steps: _Optional[_Iterable[_Union[Step, _Mapping]]] = ..., revision: _Optional[int] = ..., owner: _Optional[str] = ..., lease: _Optional[float] = ...) -> None: ...

class DeleteStepRequest(_message.Message):
    __slots__ = ["flow", "revision", "step"]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    flow: str
    revision: int
    step: str
    def __init__(self, flow: _Optional[str] = ..., step: _Optional[str] = ..., revision: _Optional[int] = ...) -> None: ...

class ErrorInfo(_message.Message):
    __slots__ = ["cause", "code", "fields", "fix", "message", "step", "type"]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    FIX_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    cause: ErrorInfo
    code: str
    fields: bytes
    fix: str
    message: str
    step: str
    type: str
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ..., fix: _Optional[str] = ..., step: _Optional[str] = ..., type: _Optional[str] = ..., cause: _Optional[_Union[ErrorInfo, _Mapping]] = ..., fields: _Optional[bytes] = ...) -> None: ...

class ErrorNames(_message.Message):
    __slots__ = ["names"]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, names: _Optional[_Iterable[str]] = ...) -> None: ...

class ExecuteBatch(_message.Message):
    __slots__ = ["requests"]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[TaggedRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[TaggedRequest, _Mapping]]] = ...) -> None: ...

class ExecuteBatchReply(_message.Message):
    __slots__ = ["replies"]
    REPLIES_FIELD_NUMBER: _ClassVar[int]
    replies: _containers.RepeatedCompositeFieldContainer[TaggedReply]
    def __init__(self, replies: _Optional[_Iterable[_Union[TaggedReply, _Mapping]]] = ...) -> None: ...

class ExecuteReply(_message.Message):
    __slots__ = ["data", "error", "id", "json", "status"]
    DATA_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    error: ErrorInfo
    id: str
    json: bool
    status: Status
    def __init__(self, id: _Optional[str] = ..., status: _Optional[_Union[Status, str]] = ..., data: _Optional[bytes] = ..., json: bool = ..., error: _Optional[_Union[ErrorInfo, _Mapping]] = ...) -> None: ...

class ExecuteRequest(_message.Message):
    __slots__ = ["concurrency", "context", "data", "flow", "id", "inputs", "json", "no_rollback", "output", "priority", "retries", "step", "timeout", "unresolved_wait", "wait"]
    class ContextEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class InputsEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    NO_ROLLBACK_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    RETRIES_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    UNRESOLVED_WAIT_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    concurrency: int
    context: _containers.ScalarMap[str, str]
    data: bytes
    flow: str
    id: str
    inputs: _containers.ScalarMap[str, bytes]
    json: bool
    no_rollback: bool
    output: str
    priority: int
    retries: int
    step: str
    timeout: float
    unresolved_wait: bool
    wait: bool
    def __init__(self, flow: _Optional[str] = ..., data: _Optional[bytes] = ..., json: bool = ..., id: _Optional[str] = ..., step: _Optional[str] = ..., output: _Optional[str] = ..., timeout: _Optional[float] = ..., concurrency: _Optional[int] = ..., retries: _Optional[int] = ..., priority: _Optional[int] = ..., unresolved_wait: bool = ..., no_rollback: bool = ..., inputs: _Optional[_Mapping[str, bytes]] = ..., wait: bool = ..., context: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ExecutionLine(_message.Message):
    __slots__ = ["ended_utc", "flow", "id", "parent", "revision", "status", "time_utc"]
    ENDED_UTC_FIELD_NUMBER: _ClassVar[int]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    TIME_UTC_FIELD_NUMBER: _ClassVar[int]
    ended_utc: float
    flow: str
    id: str
    parent: str
    revision: int
    status: Status
    time_utc: float
    def __init__(self, id: _Optional[str] = ..., flow: _Optional[str] = ..., revision: _Optional[int] = ..., status: _Optional[_Union[Status, str]] = ..., parent: _Optional[str] = ..., time_utc: _Optional[float] = ..., ended_utc: _Optional[float] = ...) -> None: ...

class ExecutionRequest(_message.Message):
    __slots__ = ["flow", "id"]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    flow: str
    id: str
    def __init__(self, flow: _Optional[str] = ..., id: _Optional[str] = ...) -> None: ...

class ExplainReply(_message.Message):
    __slots__ = ["reasons", "status"]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    reasons: _containers.RepeatedCompositeFieldContainer[Reason]
    status: Status
    def __init__(self, status: _Optional[_Union[Status, str]] = ..., reasons: _Optional[_Iterable[_Union[Reason, _Mapping]]] = ...) -> None: ...

class FlowChange(_message.Message):
    __slots__ = ["available", "created", "deleted", "flow", "owner", "revision"]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    available: bool
    created: _containers.RepeatedScalarFieldContainer[str]
    deleted: _containers.RepeatedScalarFieldContainer[str]
    flow: str
    owner: str
    revision: int
    def __init__(self, flow: _Optional[str] = ..., revision: _Optional[int] = ..., created: _Optional[_Iterable[str]] = ..., deleted: _Optional[_Iterable[str]] = ..., owner: _Optional[str] = ..., available: bool = ...) -> None: ...

class FlowInfo(_message.Message):
    __slots__ = ["flow", "revision", "steps"]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    flow: str
    revision: int
    steps: int
    def __init__(self, flow: _Optional[str] = ..., revision: _Optional[int] = ..., steps: _Optional[int] = ...) -> None: ...

class HeartbeatReply(_message.Message):
    __slots__ = ["lease"]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    lease: float
    def __init__(self, lease: _Optional[float] = ...) -> None: ...

class HeartbeatRequest(_message.Message):
    __slots__ = ["owner"]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    owner: str
    def __init__(self, owner: _Optional[str] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ["concurrency", "endpoints", "service"]
    CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    concurrency: int
    endpoints: _containers.RepeatedScalarFieldContainer[str]
    service: str
    def __init__(self, service: _Optional[str] = ..., endpoints: _Optional[_Iterable[str]] = ..., concurrency: _Optional[int] = ...) -> None: ...

class HistoryReply(_message.Message):
    __slots__ = ["moves"]
    MOVES_FIELD_NUMBER: _ClassVar[int]
    moves: _containers.RepeatedCompositeFieldContainer[Move]
    def __init__(self, moves: _Optional[_Iterable[_Union[Move, _Mapping]]] = ...) -> None: ...

class ListExecutionsReply(_message.Message):
    __slots__ = ["executions", "next"]
    EXECUTIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    executions: _containers.RepeatedCompositeFieldContainer[ExecutionLine]
    next: str
    def __init__(self, executions: _Optional[_Iterable[_Union[ExecutionLine, _Mapping]]] = ..., next: _Optional[str] = ...) -> None: ...

class ListExecutionsRequest(_message.Message):
    __slots__ = ["cursor", "flow", "limit", "since", "status"]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    cursor: str
    flow: str
    limit: int
    since: float
    status: Status
    def __init__(self, flow: _Optional[str] = ..., status: _Optional[_Union[Status, str]] = ..., since: _Optional[float] = ..., limit: _Optional[int] = ..., cursor: _Optional[str] = ...) -> None: ...

class ListFlowsReply(_message.Message):
    __slots__ = ["flows"]
    FLOWS_FIELD_NUMBER: _ClassVar[int]
    flows: _containers.RepeatedCompositeFieldContainer[FlowInfo]
    def __init__(self, flows: _Optional[_Iterable[_Union[FlowInfo, _Mapping]]] = ...) -> None: ...

class ListFlowsRequest(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class LookupReply(_message.Message):
    __slots__ = ["revision", "steps"]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    revision: int
    steps: _containers.RepeatedCompositeFieldContainer[OwnedStep]
    def __init__(self, revision: _Optional[int] = ..., steps: _Optional[_Iterable[_Union[OwnedStep, _Mapping]]] = ...) -> None: ...

class LookupRequest(_message.Message):
    __slots__ = ["flow"]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    flow: str
    def __init__(self, flow: _Optional[str] = ...) -> None: ...

class Move(_message.Message):
    __slots__ = ["attempt", "status", "step", "time"]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    attempt: int
    status: Status
    step: str
    time: float
    def __init__(self, step: _Optional[str] = ..., status: _Optional[_Union[Status, str]] = ..., time: _Optional[float] = ..., attempt: _Optional[int] = ...) -> None: ...

class Operation(_message.Message):
    __slots__ = ["allow_fail", "context", "name", "options", "retry", "retry_count", "timeout", "type"]
    class ContextEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    class OptionsEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ALLOW_FAIL_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    RETRY_COUNT_FIELD_NUMBER: _ClassVar[int]
    RETRY_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    allow_fail: bool
    context: _containers.ScalarMap[str, bytes]
    name: str
    options: _containers.ScalarMap[str, str]
    retry: Retry
    retry_count: int
    timeout: float
    type: str
    def __init__(self, name: _Optional[str] = ..., type: _Optional[str] = ..., options: _Optional[_Mapping[str, str]] = ..., timeout: _Optional[float] = ..., retry_count: _Optional[int] = ..., retry: _Optional[_Union[Retry, _Mapping]] = ..., allow_fail: bool = ..., context: _Optional[_Mapping[str, bytes]] = ...) -> None: ...

class OwnedStep(_message.Message):
    __slots__ = ["available", "owner", "step"]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    available: bool
    owner: str
    step: Step
    def __init__(self, step: _Optional[_Union[Step, _Mapping]] = ..., owner: _Optional[str] = ..., available: bool = ...) -> None: ...

class Reason(_message.Message):
    __slots__ = ["kind", "seconds", "step", "text", "waits_for"]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    WAITS_FOR_FIELD_NUMBER: _ClassVar[int]
    kind: str
    seconds: float
    step: str
    text: str
    waits_for: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, step: _Optional[str] = ..., kind: _Optional[str] = ..., text: _Optional[str] = ..., waits_for: _Optional[_Iterable[str]] = ..., seconds: _Optional[float] = ...) -> None: ...

class ReplaceStepRequest(_message.Message):
    __slots__ = ["flow", "lease", "revision", "step"]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    WITH_FIELD_NUMBER: _ClassVar[int]
    flow: str
    lease: float
    revision: int
    step: str
    def __init__(self, flow: _Optional[str] = ..., step: _Optional[str] = ..., revision: _Optional[int] = ..., lease: _Optional[float] = ..., **kwargs) -> None: ...

class RestartRequest(_message.Message):
    __slots__ = ["flow", "id", "step"]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    flow: str
    id: str
    step: str
    def __init__(self, flow: _Optional[str] = ..., id: _Optional[str] = ..., step: _Optional[str] = ...) -> None: ...

class ResultReply(_message.Message):
    __slots__ = ["data"]
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class ResultRequest(_message.Message):
    __slots__ = ["flow", "id", "step"]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    flow: str
    id: str
    step: str
    def __init__(self, flow: _Optional[str] = ..., id: _Optional[str] = ..., step: _Optional[str] = ...) -> None: ...

class Retry(_message.Message):
    __slots__ = ["factor", "give_up_on", "initial", "jitter", "max", "retries", "retry_on"]
    FACTOR_FIELD_NUMBER: _ClassVar[int]
    GIVE_UP_ON_FIELD_NUMBER: _ClassVar[int]
    INITIAL_FIELD_NUMBER: _ClassVar[int]
    JITTER_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    RETRIES_FIELD_NUMBER: _ClassVar[int]
    RETRY_ON_FIELD_NUMBER: _ClassVar[int]
    factor: float
    give_up_on: ErrorNames
    initial: float
    jitter: Jitter
    max: float
    retries: int
    retry_on: ErrorNames
    def __init__(self, retries: _Optional[int] = ..., initial: _Optional[float] = ..., factor: _Optional[float] = ..., max: _Optional[float] = ..., jitter: _Optional[_Union[Jitter, str]] = ..., retry_on: _Optional[_Union[ErrorNames, _Mapping]] = ..., give_up_on: _Optional[_Union[ErrorNames, _Mapping]] = ...) -> None: ...

class ServeReply(_message.Message):
    __slots__ = ["call", "cancelled", "instances", "welcome"]
    CALL_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    call: Call
    cancelled: CallCancelled
    instances: int
    welcome: bool
    def __init__(self, welcome: bool = ..., call: _Optional[_Union[Call, _Mapping]] = ..., cancelled: _Optional[_Union[CallCancelled, _Mapping]] = ..., instances: _Optional[int] = ...) -> None: ...

class ServeRequest(_message.Message):
    __slots__ = ["answer", "draining", "hello"]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    answer: CallAnswer
    draining: bool
    hello: Hello
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., answer: _Optional[_Union[CallAnswer, _Mapping]] = ..., draining: bool = ...) -> None: ...

class StatusReply(_message.Message):
    __slots__ = ["status"]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: Status
    def __init__(self, status: _Optional[_Union[Status, str]] = ...) -> None: ...

class Step(_message.Message):
    __slots__ = ["after", "allow_fail", "before", "compensation", "delivery", "fallback", "fallback_then", "format", "input", "input_mapping", "join", "manual", "name", "operation", "output", "retry", "retry_count", "timeout", "total_timeout", "when"]
    class InputMappingEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    AFTER_FIELD_NUMBER: _ClassVar[int]
    ALLOW_FAIL_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    COMPENSATION_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_THEN_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    INPUT_MAPPING_FIELD_NUMBER: _ClassVar[int]
    JOIN_FIELD_NUMBER: _ClassVar[int]
    MANUAL_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    RETRY_COUNT_FIELD_NUMBER: _ClassVar[int]
    RETRY_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    TOTAL_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    WHEN_FIELD_NUMBER: _ClassVar[int]
    after: _containers.RepeatedScalarFieldContainer[str]
    allow_fail: bool
    before: _containers.RepeatedScalarFieldContainer[str]
    compensation: Operation
    delivery: Delivery
    fallback: Operation
    fallback_then: FallbackThen
    format: int
    input: str
    input_mapping: _containers.ScalarMap[str, str]
    join: Join
    manual: bool
    name: str
    operation: Operation
    output: str
    retry: Retry
    retry_count: int
    timeout: float
    total_timeout: float
    when: str
    def __init__(self, name: _Optional[str] = ..., after: _Optional[_Iterable[str]] = ..., before: _Optional[_Iterable[str]] = ..., input: _Optional[str] = ..., output: _Optional[str] = ..., operation: _Optional[_Union[Operation, _Mapping]] = ..., fallback: _Optional[_Union[Operation, _Mapping]] = ..., retry_count: _Optional[int] = ..., retry: _Optional[_Union[Retry, _Mapping]] = ..., timeout: _Optional[float] = ..., total_timeout: _Optional[float] = ..., compensation: _Optional[_Union[Operation, _Mapping]] = ..., allow_fail: bool = ..., when: _Optional[str] = ..., join: _Optional[_Union[Join, str]] = ..., manual: bool = ..., delivery: _Optional[_Union[Delivery, str]] = ..., fallback_then: _Optional[_Union[FallbackThen, str]] = ..., input_mapping: _Optional[_Mapping[str, str]] = ..., format: _Optional[int] = ...) -> None: ...

class StepNames(_message.Message):
    __slots__ = ["steps"]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    steps: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, steps: _Optional[_Iterable[str]] = ...) -> None: ...

class Steps(_message.Message):
    __slots__ = ["steps"]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    steps: _containers.RepeatedCompositeFieldContainer[Step]
    def __init__(self, steps: _Optional[_Iterable[_Union[Step, _Mapping]]] = ...) -> None: ...

class TaggedReply(_message.Message):
    __slots__ = ["reply", "tag"]
    REPLY_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    reply: ExecuteReply
    tag: int
    def __init__(self, tag: _Optional[int] = ..., reply: _Optional[_Union[ExecuteReply, _Mapping]] = ...) -> None: ...

class TaggedRequest(_message.Message):
    __slots__ = ["request", "tag"]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    request: ExecuteRequest
    tag: int
    def __init__(self, tag: _Optional[int] = ..., request: _Optional[_Union[ExecuteRequest, _Mapping]] = ...) -> None: ...

class UnresolvedReply(_message.Message):
    __slots__ = ["missing"]
    class MissingEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: StepNames
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[StepNames, _Mapping]] = ...) -> None: ...
    MISSING_FIELD_NUMBER: _ClassVar[int]
    missing: _containers.MessageMap[str, StepNames]
    def __init__(self, missing: _Optional[_Mapping[str, StepNames]] = ...) -> None: ...

class WatchFlowsRequest(_message.Message):
    __slots__ = ["flow", "since"]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    flow: str
    since: int
    def __init__(self, flow: _Optional[str] = ..., since: _Optional[int] = ...) -> None: ...

class Jitter(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class Join(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class Delivery(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class FallbackThen(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []
