"""An immutable directed acyclic graph over the nodes 0 to n-1, as flat arrays."""
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_ND, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libcpp.vector cimport vector

__all__ = ["Graph"]

cdef uint32_t NO_NODE = 0xFFFFFFFF


cdef class Ids:
    """Integers as an array of uint32, each checked to be below a limit; borrowed from a buffer where possible."""

    cdef uint32_t* data
    cdef uint64_t size
    cdef uint32_t* own
    cdef Py_buffer view
    cdef bint viewed

    def __dealloc__(self):
        PyMem_RawFree(self.own)
        if self.viewed:
            PyBuffer_Release(&self.view)

    cdef int take(self, uint64_t size) except -1:
        self.size = size
        self.own = self.data = <uint32_t*>PyMem_RawMalloc((size + 1) * sizeof(uint32_t))
        if self.own is NULL:
            raise MemoryError(f"no memory for {size} node ids")
        return 0

    cdef bint open(self, object values) except -1:
        """Whether the values are a contiguous one-dimensional buffer of a kind that needs no Python objects."""
        if not PyObject_CheckBuffer(values):
            return False
        try:
            PyObject_GetBuffer(values, &self.view, PyBUF_ND | PyBUF_FORMAT)
        except (BufferError, ValueError):  # strided: item by item
            return False
        self.viewed = True
        if self.view.ndim != 1 or self.view.format is NULL:
            return False
        self.size = self.view.shape[0]
        return True


cdef Ids ids_of(object values, uint32_t limit, str what):
    cdef Ids ids = Ids()
    cdef int64_t bad = -1
    cdef bytes kind = b""
    if ids.open(values):
        kind = (<bytes>ids.view.format).lstrip(b"@=<") + (b"%d" % ids.view.itemsize)
    if kind in (b"I4", b"L4"):
        ids.data = <uint32_t*>ids.view.buf
        bad = csr_bad_value(<const uint32_t*>ids.data, ids.size, limit)
    elif kind in (b"i4", b"l4"):
        ids.take(ids.size)
        bad = csr_bad_value(<const int32_t*>ids.view.buf, ids.size, limit)
        csr_narrow(<const int32_t*>ids.view.buf, ids.size, ids.data)
    elif kind in (b"l8", b"q8"):
        ids.take(ids.size)
        bad = csr_bad_value(<const int64_t*>ids.view.buf, ids.size, limit)
        csr_narrow(<const int64_t*>ids.view.buf, ids.size, ids.data)
    else:
        return ids_of_items(values, limit, what)
    if bad >= 0:
        raise IndexError(f"{what}[{bad}] is {values[bad]}, but n={limit}")
    return ids


cdef Ids ids_of_items(object values, uint32_t limit, str what):
    """Any sequence of integers, one by one; an item that is an int by ``__index__`` (NumPy's) is one too."""
    cdef Ids ids = Ids()
    cdef list items
    cdef Py_ssize_t i
    try:
        items = list(values)
    except TypeError:
        raise TypeError(f"{what} must be a sequence of ints, not {type(values).__name__}") from None
    ids.take(len(items))
    for i in range(len(items)):
        value = items[i]
        if isinstance(value, bool) or not hasattr(type(value), "__index__"):
            raise TypeError(f"{what}[{i}] must be an int, not {type(value).__name__}: {value!r:.80}")
        value = value.__index__()
        if not 0 <= value < limit:
            raise IndexError(f"{what}[{i}] is {value}, but n={limit}")
        ids.data[i] = value
    return ids


cdef uint32_t as_size(object n) except? 0xFFFFFFFF:
    if isinstance(n, bool) or not hasattr(type(n), "__index__"):
        raise TypeError(f"n must be an int, not {type(n).__name__}: {n!r:.80}")
    n = n.__index__()
    if not 0 <= n < NO_NODE:
        raise ValueError(f"n must be within 0 and 2**32-2, not {n}")
    return n


cdef Graph graph_from_edges(uint32_t n, const uint32_t* sources, const uint32_t* targets, uint64_t count):
    cdef Graph graph = Graph.__new__(Graph)
    build(graph, n, sources, targets, count)
    return graph


cdef int build(Graph graph, uint32_t n, const uint32_t* sources, const uint32_t* targets, uint64_t count) except -1:
    cdef Csr* csr = &graph.csr
    cdef uint32_t* waiting
    cdef uint32_t* block
    cdef bint sorted_
    if count >= NO_NODE:
        raise OverflowError(f"{count} edges are more than a graph can hold (2**32-2)")
    graph.block = <uint32_t*>PyMem_RawMalloc(csr_words(n, count) * sizeof(uint32_t))
    waiting = <uint32_t*>PyMem_RawMalloc((n + <size_t>1) * sizeof(uint32_t))
    try:
        if graph.block is NULL or waiting is NULL:
            raise MemoryError(f"no memory for a graph of {n} nodes and {count} edges")
        with nogil:
            csr_lay_out(csr, graph.block, n, <uint32_t>count)
            csr_fill_pred(csr, sources, targets, count)
            csr_merge(csr)
            csr_fill_succ(csr)
            sorted_ = csr_sort(csr, waiting)
        if not sorted_:
            raise_cycle(csr, waiting)
    finally:
        PyMem_RawFree(waiting)
    if csr.m < count:
        block = <uint32_t*>PyMem_RawRealloc(graph.block, csr_words(n, csr.m) * sizeof(uint32_t))
        if block is not NULL:  # a refusal to shrink only costs room
            graph.block = block
            csr_lay_out(csr, block, n, csr.m)
    graph.n, graph.m = csr.n, csr.m
    graph.succ_ptr, graph.succ = csr.succ_ptr, csr.succ
    graph.pred_ptr, graph.pred = csr.pred_ptr, csr.pred
    graph.topo = csr.topo
    return 0


cdef int raise_cycle(Csr* csr, uint32_t* waiting) except -1:
    from flow_core.errors import CycleError

    cdef vector[uint32_t] path = csr_cycle(csr, waiting)
    raise CycleError([path[i] for i in range(path.size())])


cdef list row(uint32_t* ptr, uint32_t* values, uint32_t v):
    return [values[e] for e in range(ptr[v], ptr[v + 1])]


cdef class Graph:
    """A directed acyclic graph. Duplicate edges are merged; predecessors keep the order in which they were given.

    Args:
        n: number of nodes.
        sources, targets: the edges, as sequences of ints of one length; contiguous uint32, int32 or int64 buffers
            (NumPy arrays) are read without making Python objects.

    Raises:
        CycleError: ``path`` is the circle as ints, first and last the same.
        IndexError: an end of an edge is no node.
        TypeError, ValueError: naming the argument.
        MemoryError: there is no room.

    The topological order is Kahn's (CACM 5, 1962), computed once; it is the order of the numbers where that is one.
    """

    def __init__(self, n, sources=(), targets=()):
        if self.block is not NULL:
            raise TypeError("a Graph is built once")
        cdef uint32_t nodes = as_size(n)
        cdef Ids source_ids = ids_of(sources, nodes, "sources")
        cdef Ids target_ids = ids_of(targets, nodes, "targets")
        if source_ids.size != target_ids.size:
            raise ValueError(f"{source_ids.size} sources but {target_ids.size} targets")
        build(self, nodes, source_ids.data, target_ids.data, source_ids.size)

    def __dealloc__(self):
        PyMem_RawFree(self.block)

    @staticmethod
    def from_csr(pred_indptr, pred_indices):
        """A graph from compressed rows: the predecessors of v are ``pred_indices[pred_indptr[v]:pred_indptr[v + 1]]``.

        Raises like the constructor; ValueError when ``pred_indptr`` does not ascend from 0 to ``len(pred_indices)``.
        """
        cdef Ids ptr = ids_of(pred_indptr, NO_NODE, "pred_indptr")
        if ptr.size == 0:
            raise ValueError("pred_indptr is empty; it has one more item than there are nodes")
        cdef uint32_t n = <uint32_t>(ptr.size - 1)
        cdef Ids source_ids = ids_of(pred_indices, n, "pred_indices")
        cdef Ids target_ids = Ids()
        cdef uint32_t v, e
        if ptr.data[0] != 0 or ptr.data[n] != source_ids.size:
            raise ValueError(f"pred_indptr goes from {ptr.data[0]} to {ptr.data[n]}, not 0 to {source_ids.size}")
        for v in range(n):
            if ptr.data[v] > ptr.data[v + 1]:
                raise ValueError(f"pred_indptr descends at {v}")
        target_ids.take(source_ids.size)
        for v in range(n):
            for e in range(ptr.data[v], ptr.data[v + 1]):
                target_ids.data[e] = v
        return graph_from_edges(n, source_ids.data, target_ids.data, source_ids.size)

    cdef uint32_t node(self, object value) except? 0xFFFFFFFF:
        if isinstance(value, bool) or not hasattr(type(value), "__index__"):
            raise TypeError(f"a node is an int, not {type(value).__name__}: {value!r:.80}")
        value = value.__index__()
        if not 0 <= value < self.n:
            raise IndexError(f"no node {value}, n={self.n}")
        return value

    cdef list within(self, vector[uint8_t]& seen):
        cdef vector[uint32_t] nodes = csr_in_order(&self.csr, seen)
        return [nodes[i] for i in range(nodes.size())]

    def order(self):
        """All nodes in topological order."""
        return [self.topo[i] for i in range(self.n)]

    def successors(self, v):
        """The nodes directly after v, ascending. Raises IndexError."""
        return row(self.succ_ptr, self.succ, self.node(v))

    def predecessors(self, v):
        """The nodes directly before v, in the order given. Raises IndexError."""
        return row(self.pred_ptr, self.pred, self.node(v))

    def roots(self):
        """The nodes without predecessors, ascending."""
        return [v for v in range(self.n) if self.pred_ptr[v] == self.pred_ptr[v + 1]]

    def sinks(self):
        """The nodes without successors, ascending."""
        return [v for v in range(self.n) if self.succ_ptr[v] == self.succ_ptr[v + 1]]

    def descendants(self, v):
        """v and all nodes after it, in topological order. Raises IndexError."""
        cdef vector[uint8_t] seen = csr_reach(&self.csr, self.node(v), True)
        return self.within(seen)

    def ancestors(self, v):
        """v and all nodes before it, in topological order. Raises IndexError."""
        cdef vector[uint8_t] seen = csr_reach(&self.csr, self.node(v), False)
        return self.within(seen)

    def reaches(self, a, b):
        """Whether a comes strictly before b in every order. Raises IndexError."""
        cdef uint32_t start = self.node(a), end = self.node(b)
        return start != end and bool(csr_reach(&self.csr, start, True)[end])

    def subgraph(self, nodes):
        """The graph of some nodes and the edges among them, and an array that gives each new number its old one.

        Raises:
            IndexError: there is no such node.
            ValueError: a node is given twice.
        """
        from array import array

        cdef Ids kept = ids_of(nodes, self.n, "nodes")
        cdef vector[uint32_t] number = vector[uint32_t](self.n, NO_NODE)
        cdef vector[uint32_t] sources, targets
        cdef uint32_t i, e
        for i in range(<uint32_t>kept.size):
            if number[kept.data[i]] != NO_NODE:
                raise ValueError(f"nodes holds {kept.data[i]} twice")
            number[kept.data[i]] = i
        for i in range(<uint32_t>kept.size):
            for e in range(self.pred_ptr[kept.data[i]], self.pred_ptr[kept.data[i] + 1]):
                if number[self.pred[e]] != NO_NODE:
                    sources.push_back(number[self.pred[e]])
                    targets.push_back(i)
        graph = graph_from_edges(<uint32_t>kept.size, sources.data(), targets.data(), sources.size())
        return graph, array("I", (<const char*>kept.data)[: kept.size * sizeof(uint32_t)] if kept.size else ())

    def critical_path(self, weights):
        """The heaviest path: its weight (sum over its nodes, in the unit of the weights) and its nodes in order.

        One pass over the topological order. Raises ValueError for a wrong number of weights, a negative one or NaN.
        """
        cdef vector[double] values
        cdef double length = 0.0, value
        for weight in weights:
            value = weight
            if not value >= 0.0:
                raise ValueError(f"weights[{values.size()}] is {weight!r}; weights are not negative")
            values.push_back(value)
        if values.size() != self.n:
            raise ValueError(f"{values.size()} weights for {self.n} nodes")
        cdef vector[uint32_t] path = csr_critical_path(&self.csr, values.data(), &length)
        return length, [path[i] for i in range(path.size())]

    def __len__(self):
        return self.n

    def __repr__(self):
        return f"Graph(n={self.n}, m={self.m})"

    def check(self):
        """Raise AssertionError when an invariant is broken."""
        cdef const char* wrong = NULL
        if self.block is not NULL:
            wrong = csr_check(&self.csr)
        if wrong is not NULL:
            raise AssertionError(wrong.decode())
