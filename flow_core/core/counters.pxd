# Counters: named relaxed atomic cells. See src/flow_core/counters.hpp.
from libc.stdint cimport uint64_t

cdef extern from "flow_core/counters.hpp" namespace "flow" nogil:
    cdef cppclass Cell:
        pass
    void counter_init(Cell* cells, size_t count) noexcept
    void counter_add(Cell* cells, size_t i, uint64_t n) noexcept
    void counter_bump(Cell* cells, size_t i) noexcept
    uint64_t counter_get(const Cell* cells, size_t i) noexcept

cdef class Counters:
    cdef Cell* cells            # the block
    cdef readonly tuple names
    cdef dict places            # name -> index

    cdef Py_ssize_t place(self, object key) except -1
