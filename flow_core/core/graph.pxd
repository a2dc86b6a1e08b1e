# Graph: an immutable DAG as flat arrays, both directions. See src/flow_core/csr.hpp.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libcpp cimport bool as cbool
from libcpp.vector cimport vector

cdef extern from "flow_core/csr.hpp" namespace "flow" nogil:
    cdef struct Csr:
        uint32_t n, m
        uint32_t* succ_ptr
        uint32_t* pred_ptr
        uint32_t* topo
        uint32_t* pred
        uint32_t* succ
    size_t csr_words(uint64_t n, uint64_t m) noexcept
    void csr_lay_out(Csr* graph, uint32_t* block, uint32_t n, uint32_t m) noexcept
    int64_t csr_bad_value[I](const I* values, uint64_t count, uint32_t n) noexcept
    void csr_narrow[I](const I* values, uint64_t count, uint32_t* out) noexcept
    void csr_fill_pred[I](Csr* graph, const I* sources, const I* targets, uint64_t count) noexcept
    void csr_merge(Csr* graph) noexcept
    void csr_fill_succ(Csr* graph) noexcept
    bint csr_sort(Csr* graph, uint32_t* waiting) noexcept
    vector[uint32_t] csr_cycle(const Csr* graph, const uint32_t* waiting) except +
    vector[uint8_t] csr_reach(const Csr* graph, uint32_t start, cbool forward) except +
    vector[uint32_t] csr_in_order(const Csr* graph, const vector[uint8_t]& seen) except +
    vector[uint32_t] csr_critical_path(const Csr* graph, const double* weights, double* length) except +
    const char* csr_check(const Csr* graph) except +

cdef class Graph:
    # One block; the pointers below point into it and never change after the constructor.
    cdef uint32_t* block
    cdef Csr csr
    cdef readonly uint32_t n, m
    cdef uint32_t* succ_ptr     # n + 1
    cdef uint32_t* succ         # m, ascending in each row
    cdef uint32_t* pred_ptr     # n + 1
    cdef uint32_t* pred         # m, in the order given
    cdef uint32_t* topo         # n, every node after its predecessors

    cdef uint32_t node(self, object value) except? 0xFFFFFFFF
    cdef list within(self, vector[uint8_t]& seen)

# A graph over edges whose ends were checked to be < n. Raises CycleError (path of ints), MemoryError, OverflowError.
cdef Graph graph_from_edges(uint32_t n, const uint32_t* sources, const uint32_t* targets, uint64_t count)
