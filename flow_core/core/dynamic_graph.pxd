# DynamicGraph: the growing graph behind registration. See src/flow_core/dynamic_graph.hpp and dynamic_graph_order.hpp.
from cpython.object cimport PyObject, PyObject_Hash
from libc.stdint cimport int64_t, uint32_t
from libcpp cimport bool as cbool
from libcpp.vector cimport vector

from flow_core.core.graph cimport Graph

# Not nogil: the hooks count references of names.
cdef extern from "flow_core/dynamic_graph_order.hpp" namespace "flow":
    ctypedef size_t Name "flow::Name"
    ctypedef cbool (*SameName)(Name, Name) noexcept
    ctypedef void (*NameHook)(Name) noexcept
    enum: NO_INDEX
    enum: START
    enum: END
    enum: FIRST_NAMED
    enum Zone "flow::Zone":
        LOW "flow::LOW"
        HIGH "flow::HIGH"
    cdef struct TopoNode:
        Name name
        int64_t order
        uint32_t place
        uint32_t refs, plain
    cdef cppclass Topo "flow::DynamicGraph":
        Topo() except +
        vector[TopoNode] nodes
        vector[uint32_t] places
        vector[uint32_t] cycle
        vector[uint32_t] before_it
        vector[uint32_t] after_it
        uint32_t named
        uint32_t declared
    void topo_init(Topo* t, NameHook keep, NameHook drop, SameName same) except +
    void topo_free(Topo* t) noexcept
    void topo_reserve(Topo* t, size_t steps, size_t edges) except +
    void topo_trim(Topo* t) except +
    bint topo_is_ghost(const Topo* t, uint32_t v) noexcept
    uint32_t topo_find(const Topo* t, Name name, uint32_t hash) noexcept
    uint32_t topo_intern(Topo* t, Name name, uint32_t hash, Zone zone) except +
    void topo_declare(Topo* t, uint32_t v, bint plain) except +
    cdef struct TopoMention:
        Name name
        uint32_t v, hash
        bint by_source
    void topo_prefetch_name(Name name) noexcept
    void topo_prefetch_slot(const Topo* t, uint32_t hash) noexcept
    void topo_prefetch_node(const Topo* t, uint32_t hash) noexcept
    void topo_link_lazily(Topo* t, uint32_t source, uint32_t target, bint by_source) except +
    bint topo_connect_step(Topo* t, uint32_t v, bint after_all, bint before_all) except +
    bint topo_connect_all(Topo* t, uint32_t v, bint after_all, bint before_all, bint lazily) except +
    bint topo_recompute(Topo* t) except +
    void topo_remove(Topo* t, uint32_t v) except +
    void topo_pack(Topo* t) noexcept
    void topo_begin(Topo* t) noexcept
    void topo_begin_replace(Topo* t, uint32_t v, bint plain) except +
    void topo_commit(Topo* t) noexcept
    void topo_rollback(Topo* t) noexcept
    bint topo_reaches(Topo* t, uint32_t a, uint32_t b) except +
    vector[uint32_t] topo_neighbours(const Topo* t, uint32_t v, bint before) except +
    void topo_export(const Topo* t, vector[uint32_t]* sources, vector[uint32_t]* targets) except +
    const char* topo_check(const Topo* t) except +

cdef extern from "Python.h":
    PyObject* PyTuple_GET_ITEM(object, Py_ssize_t) noexcept  # borrowed


cdef class DynamicGraph:
    cdef Topo topo
    cdef list items             # by place; None where a step was removed
    cdef bint busy              # a change is under way: attributes of items may run code that comes back here

    # C level: the node of a name, declared or ghost; NO_INDEX when there is none.
    cdef uint32_t node(self, str name) except? 0xFFFFFFFE
    cdef uint32_t step(self, object name) except? 0xFFFFFFFE
    cdef uint32_t declared(self, object name) except? 0xFFFFFFFE

    cdef int begin(self) except -1
    cdef int rollback(self) except -1
    cdef int commit(self) except -1
    cdef int add_one(self, str name, object item, object after, object before,
                     bint after_all, bint before_all, bint detached) except -1
    cdef uint32_t declare(self, str name, uint32_t hash, object item, bint plain) except? 0xFFFFFFFE
    cdef int connect(self, uint32_t v, object after, object before,
                     bint after_all, bint before_all) except -1
    cdef int add_bulk(self, list items) except -1
    cdef size_t estimate_edges(self, list steps) except? 0
    cdef int declare_block(self, list steps, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int link_block(self, list steps, Py_ssize_t start, Py_ssize_t end, size_t place) except -1
    cdef int mention(self, uint32_t v, tuple names, bint by_source, vector[TopoMention]& mentions) except -1
    cdef uint32_t hash_of_mention(self, const TopoMention& mention) except? 0xFFFFFFFF
    cdef int raise_cycle(self) except -1
    cdef int pack(self) except -1
    cdef list names(self, vector[uint32_t] nodes)


cdef inline Name handle(str name) noexcept:
    return <Name><PyObject*>name


cdef inline uint32_t hash_of(str name) except? 0xFFFFFFFF:
    return <uint32_t>PyObject_Hash(name)
