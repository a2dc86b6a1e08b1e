from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DELIVERY_AT_LEAST_ONCE: Delivery
DELIVERY_AT_MOST_ONCE: Delivery
DELIVERY_UNSPECIFIED: Delivery
DESCRIPTOR: _descriptor.FileDescriptor
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

class Change(_message.Message):
    __slots__ = ["created", "deleted", "replaced"]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    REPLACED_FIELD_NUMBER: _ClassVar[int]
    created: _containers.RepeatedCompositeFieldContainer[Step]
    deleted: str
    replaced: str
    def __init__(self, created: _Optional[_Iterable[_Union[Step, _Mapping]]] = ..., deleted: _Optional[str] = ..., replaced: _Optional[str] = ...) -> None: ...

class ErrorNames(_message.Message):
    __slots__ = ["names"]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, names: _Optional[_Iterable[str]] = ...) -> None: ...

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

class Steps(_message.Message):
    __slots__ = ["steps"]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    steps: _containers.RepeatedCompositeFieldContainer[Step]
    def __init__(self, steps: _Optional[_Iterable[_Union[Step, _Mapping]]] = ...) -> None: ...

class Jitter(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class Join(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class Delivery(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class FallbackThen(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []
