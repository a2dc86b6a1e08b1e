"""`Waker`: what goes on when what it waited for has come."""

from flow_core.core.gate cimport Gate


cdef class Waker(Gate):
    pass
