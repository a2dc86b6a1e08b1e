"""What a name of a step may be, for the classes that look names up."""

from cpython.unicode cimport PyUnicode_FromObject


cdef inline str as_name(object value, str what):
    if type(value) is str:
        return value
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a str, not {type(value).__name__}: {value!r:.80}")
    return PyUnicode_FromObject(value)


cdef inline object as_sequence(object value, str what):
    if isinstance(value, str):
        raise TypeError(f"{what} must be a sequence of names, not the str {value!r:.80}")
    return value
