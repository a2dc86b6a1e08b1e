"""The growing graph of a flow's steps: registered one by one or in bulk, cycles refused, names bound late."""
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.unicode cimport PyUnicode_Compare
from libc.stdint cimport uint32_t
from libcpp cimport bool as cbool
from libcpp.vector cimport vector

from flow_core.core.graph cimport graph_from_edges
from flow_core.core.names cimport as_name, as_sequence

cimport cython

__all__ = ["DynamicGraph"]

cdef str ALL = "$all"  # no legal id holds a "$"
cdef uint32_t HASH_OF_ALL = hash_of(ALL)

# Up to this many steps keep the order edge by edge; more recompute it once, which is linear in the whole graph.
cdef Py_ssize_t BULK = 64
cdef Py_ssize_t BLOCK = 64  # steps whose names are looked up together


cdef void keep_name(Name name) noexcept:
    Py_INCREF(<object><PyObject*>name)


cdef void drop_name(Name name) noexcept:
    Py_DECREF(<object><PyObject*>name)


cdef cbool same_name(Name a, Name b) noexcept:
    return PyUnicode_Compare(<object><PyObject*>a, <object><PyObject*>b) == 0


@cython.no_gc_clear
cdef class DynamicGraph:
    """Steps by name and the order between them, changing one registration at a time.

    A name in ``after`` or ``before`` that nobody has declared makes a *ghost*, a step once it is declared.
    Every change either happens as a whole or raises and changes nothing. One thread at a time.

    The order is kept dynamically (Pearce and Kelly, ACM JEA 11, 2006); more than 64 steps at once by one pass of
    Kahn's algorithm. Memory: about 108 bytes a step with three edges, beside names and items.
    """

    def __cinit__(self):
        self.items = []
        topo_init(&self.topo, keep_name, drop_name, same_name)

    def __dealloc__(self):
        topo_free(&self.topo)

    # --- lookup

    cdef uint32_t node(self, str name) except? 0xFFFFFFFE:
        return topo_find(&self.topo, handle(name), hash_of(name))

    cdef uint32_t step(self, object name) except? 0xFFFFFFFE:
        cdef uint32_t v = self.node(as_name(name, "name"))
        return NO_INDEX if v == NO_INDEX or topo_is_ghost(&self.topo, v) else v

    cdef uint32_t declared(self, object name) except? 0xFFFFFFFE:
        cdef uint32_t v = self.step(name)
        if v == NO_INDEX:
            raise KeyError(f"no step {name!r:.80}")
        return v

    def find(self, name):
        """The number of the node of a name, declared or only mentioned, or None. Valid until it is forgotten."""
        cdef uint32_t v = self.node(as_name(name, "name"))
        return None if v == NO_INDEX else v

    def get(self, name):
        """The item of a declared step, or None."""
        cdef uint32_t v = self.step(name)
        return None if v == NO_INDEX else self.items[<Py_ssize_t>self.topo.nodes[v].place]

    def __contains__(self, name):
        return isinstance(name, str) and self.step(name) != NO_INDEX

    def __len__(self):
        """Declared steps; ghosts don't count."""
        return self.topo.declared

    def __iter__(self):
        """The names of the declared steps in the order of their registration, as they are now."""
        return iter(self.names(self.topo.places))

    cdef list names(self, vector[uint32_t] nodes):
        cdef list names = []
        for v in nodes:
            if v == NO_INDEX:
                continue
            names.append("ALL" if v < FIRST_NAMED else <object><PyObject*>self.topo.nodes[v].name)
        return names

    # --- changes

    cdef int begin(self) except -1:
        if self.busy:
            raise RuntimeError("the graph is being changed already")
        topo_begin(&self.topo)
        self.busy = True
        return 0

    cdef int rollback(self) except -1:
        topo_rollback(&self.topo)
        del self.items[<Py_ssize_t>self.topo.places.size():]
        self.busy = False
        return 0

    cdef int commit(self) except -1:
        topo_commit(&self.topo)
        self.busy = False
        return 0

    def add(self, name, item, after=(), before=(), *, after_all=False, before_all=False, detached=False):
        """Declare a step that runs after some and before others.

        Args:
            name: its name.
            item: what `get` and `freeze` give back.
            after, before: names, declared or not; ``"$all"`` is the same as ``after_all``, ``before_all``.
            after_all, before_all: after or before every step that neither says this nor is detached.
            detached: ALL does not mean this step.

        Raises:
            ValueError: the name is declared already.
            CycleError: ``path`` holds the names around the circle, first and last the same; ``ALL`` for the barrier.
            TypeError, MemoryError: nothing was changed either.
        """
        name = as_name(name, "name")
        self.begin()
        try:
            self.add_one(name, item, after, before, after_all, before_all, detached)
            self.commit()
        except BaseException:
            self.rollback()
            raise

    cdef int add_one(self, str name, object item, object after, object before,
                     bint after_all, bint before_all, bint detached) except -1:
        after_all = after_all or ALL in as_sequence(after, "after")
        before_all = before_all or ALL in as_sequence(before, "before")
        cdef uint32_t v = self.declare(name, hash_of(name), item, not (after_all or before_all or detached))
        return self.connect(v, after, before, after_all, before_all)

    cdef uint32_t declare(self, str name, uint32_t hash, object item, bint plain) except? 0xFFFFFFFE:
        if name == ALL:
            raise ValueError(f"{ALL!r} is no name of a step")
        cdef uint32_t v = topo_intern(&self.topo, handle(name), hash, HIGH)
        if not topo_is_ghost(&self.topo, v):
            raise ValueError(f"step {name!r:.80} is declared already")
        topo_declare(&self.topo, v, plain)
        self.items.append(item)
        return v

    cdef int connect(self, uint32_t v, object after, object before, bint after_all, bint before_all) except -1:
        self.topo.before_it.clear()
        self.topo.after_it.clear()
        for value in after:
            name = as_name(value, "a name in after")
            if name != ALL:
                self.topo.before_it.push_back(topo_intern(&self.topo, handle(name), hash_of(name), LOW))
        for value in before:
            name = as_name(value, "a name in before")
            if name != ALL:
                self.topo.after_it.push_back(topo_intern(&self.topo, handle(name), hash_of(name), HIGH))
        if not topo_connect_step(&self.topo, v, after_all, before_all):
            self.raise_cycle()
        return 0

    def add_many(self, items):
        """Declare many steps at once; all or none.

        Args:
            items: objects with ``id``, ``after``, ``before`` (sequences of names, ``"$all"`` for ALL) and ``manual``
                (detached). They may refer to one another in any order. Each is its own item.

        Raises: like `add`.
        """
        cdef list steps = list(items)
        self.begin()
        try:
            if len(steps) > BULK:
                self.add_bulk(steps)
            else:
                for step in steps:
                    self.add_one(as_name(step.id, "id"), step, step.after, step.before, False, False, step.manual)
            self.commit()
        except BaseException:
            self.rollback()
            raise

    cdef int add_bulk(self, list steps) except -1:
        cdef Py_ssize_t start, count = len(steps), place = self.topo.places.size()
        topo_reserve(&self.topo, count, self.estimate_edges(steps))
        for start in range(0, count, BLOCK):
            self.declare_block(steps, start, min(start + BLOCK, count))
        for start in range(0, count, BLOCK):
            self.link_block(steps, start, min(start + BLOCK, count), <size_t>(place + start))
        if not topo_recompute(&self.topo):
            self.raise_cycle()
        if count > place:
            topo_trim(&self.topo)
        return 0

    cdef size_t estimate_edges(self, list steps) except? 0:
        """About how many edges a bulk brings, from a thousand of its steps: growing by doubling leaves holes behind."""
        cdef list some = steps[::max(1, len(steps) // 1024)]
        edges = sum([len(names) for step in some for names in (step.after, step.before) if type(names) is tuple])
        return <size_t>(edges * <double>len(steps) / len(some) * 1.02)

    cdef int declare_block(self, list steps, Py_ssize_t start, Py_ssize_t end) except -1:
        cdef uint32_t hashes[64]  # BLOCK
        cdef Py_ssize_t i
        cdef list ids = [as_name(steps[i].id, "id") for i in range(start, end)]
        for i in range(end - start):
            hashes[i] = hash_of(<str>ids[i])
            topo_prefetch_slot(&self.topo, hashes[i])
        for i in range(end - start):
            self.declare(<str>ids[i], hashes[i], steps[start + i], False)
        return 0

    cdef int link_block(self, list steps, Py_ssize_t start, Py_ssize_t end, size_t place) except -1:
        """Link the steps to what they name, in passes, so that memory is asked for ahead."""
        cdef vector[TopoMention] mentions
        cdef list kept = []  # the tuples of names, so that the handles stay good
        cdef bint says[3][64]  # BLOCK; ALL in after, ALL in before, detached
        cdef uint32_t u, v
        cdef Py_ssize_t i
        cdef size_t k
        cdef bint side, says_before
        for i in range(start, end):
            step = steps[i]
            v = self.topo.places[place + <size_t>(i - start)]
            says[2][i - start] = step.manual
            for side in range(2):
                names = step.before if side else step.after
                says[side][i - start] = False
                if names:
                    names = names if type(names) is tuple else tuple(as_sequence(names, "before" if side else "after"))
                    kept.append(names)
                    self.mention(v, names, side, mentions)
        for k in range(mentions.size()):
            mentions[k].hash = self.hash_of_mention(mentions[k])
            if mentions[k].hash == HASH_OF_ALL and <str><PyObject*>mentions[k].name == ALL:
                mentions[k].name = 0
                says[mentions[k].by_source][self.topo.nodes[mentions[k].v].place - place] = True
            topo_prefetch_slot(&self.topo, mentions[k].hash)
        for k in range(mentions.size()):
            topo_prefetch_node(&self.topo, mentions[k].hash)
        for k in range(mentions.size()):
            if mentions[k].name == 0:
                continue
            v = mentions[k].v
            u = topo_intern(&self.topo, mentions[k].name, mentions[k].hash, HIGH if mentions[k].by_source else LOW)
            if u == v:
                self.topo.cycle.assign(2, v)
                self.raise_cycle()
            says_before = mentions[k].by_source
            topo_link_lazily(&self.topo, v if says_before else u, u if says_before else v, says_before)
        for i in range(end - start):
            v = self.topo.places[place + <size_t>i]
            self.topo.nodes[v].plain = not (says[0][i] or says[1][i] or says[2][i])
            if not topo_connect_all(&self.topo, v, says[0][i], says[1][i], True):
                self.raise_cycle()
        return 0

    cdef int mention(self, uint32_t v, tuple names, bint by_source, vector[TopoMention]& mentions) except -1:
        """Note each name that v mentions, without a look at it yet: not even its count of references is touched."""
        cdef TopoMention mention
        mention.v, mention.hash, mention.by_source = v, 0, by_source
        for i in range(len(names)):
            mention.name = <Name>PyTuple_GET_ITEM(names, i)
            topo_prefetch_name(mention.name)
            mentions.push_back(mention)
        return 0

    cdef uint32_t hash_of_mention(self, const TopoMention& mention) except? 0xFFFFFFFF:
        value = <object><PyObject*>mention.name
        if type(value) is not str:
            raise TypeError(f"a name in {'before' if mention.by_source else 'after'} must be a str, not "
                            f"{type(value).__name__}: {value!r:.80}")
        return hash_of(<str>value)

    def replace(self, name, item, after=(), before=(), *, after_all=False, before_all=False, detached=False):
        """Declare a step anew: its own edges are exchanged, those others declared to it and its place stay.

        Raises: KeyError when there is no such step, else like `add`; the old step stays then.
        """
        cdef uint32_t v = self.declared(name)
        after_all = after_all or ALL in as_sequence(after, "after")
        before_all = before_all or ALL in as_sequence(before, "before")
        self.begin()
        try:
            topo_begin_replace(&self.topo, v, not (after_all or before_all or detached))
            self.connect(v, after, before, after_all, before_all)
            self.commit()
            self.items[<Py_ssize_t>self.topo.nodes[v].place] = item
        except BaseException:
            self.rollback()
            raise

    def remove(self, name):
        """Undeclare a step. Its own edges go; where others name it, it becomes a ghost again. Raises KeyError."""
        cdef uint32_t v = self.declared(name)
        cdef Py_ssize_t place = self.topo.nodes[v].place
        self.begin()
        try:
            topo_remove(&self.topo, v)
            self.items[place] = None
            if self.topo.places.size() > 2 * <size_t>self.topo.declared + 64:
                self.pack()
        finally:
            self.busy = False

    cdef int pack(self) except -1:
        cdef list kept = [self.items[i] for i in range(len(self.items)) if self.topo.places[i] != NO_INDEX]
        topo_pack(&self.topo)
        self.items = kept
        return 0

    cdef int raise_cycle(self) except -1:
        from flow_core.errors import CycleError

        cdef list path = self.names(self.topo.cycle)
        path.pop()
        # It reads best from a step, not from the barrier.
        while path[0] == "ALL":
            path.append(path.pop(0))
        raise CycleError([*path, path[0]])

    # --- queries

    def unresolved(self):
        """What is named but not declared: a mapping of each missing name to those that name it, all sorted."""
        missing = {}
        cdef uint32_t v
        if self.topo.named == self.topo.declared:
            return missing
        for v in range(FIRST_NAMED, <uint32_t>self.topo.nodes.size()):
            if topo_is_ghost(&self.topo, v):
                before = self.names(topo_neighbours(&self.topo, v, True))
                after = self.names(topo_neighbours(&self.topo, v, False))
                missing[<object><PyObject*>self.topo.nodes[v].name] = sorted({*before, *after})
        return dict(sorted(missing.items()))

    def reaches(self, a, b):
        """Whether a comes strictly before b in every order. Ghosts count. Raises KeyError."""
        cdef uint32_t start = self.node(as_name(a, "a")), end = self.node(as_name(b, "b"))
        if start == NO_INDEX or end == NO_INDEX:
            raise KeyError(f"no step {(a if start == NO_INDEX else b)!r:.80}")
        return bool(topo_reaches(&self.topo, start, end))

    def predecessors(self, name):
        """Names directly before a step, ghosts too: those it declared first. ALL is resolved. Raises KeyError."""
        return self.names(topo_neighbours(&self.topo, self.declared(name), True))

    def successors(self, name):
        """Names directly after a step, ghosts too: those it declared first. ALL is resolved. Raises KeyError."""
        return self.names(topo_neighbours(&self.topo, self.declared(name), False))

    def freeze(self):
        """The declared steps as a `Graph`, numbered in the order of registration, and the tuple of their items.

        ALL becomes edges. Raises ValueError while steps are unresolved, OverflowError beyond 2**32-2 edges.
        """
        cdef vector[uint32_t] sources, targets
        if self.busy:
            raise RuntimeError("the graph is being changed")
        if self.topo.named != self.topo.declared:
            missing = list(self.unresolved())
            raise ValueError(f"{len(missing)} unresolved steps: {', '.join(missing[:10])}")
        if self.topo.places.size() != self.topo.declared:
            self.pack()
        topo_export(&self.topo, &sources, &targets)
        return graph_from_edges(self.topo.declared, sources.data(), targets.data(), sources.size()), tuple(self.items)

    def __repr__(self):
        return f"DynamicGraph({len(self)} steps, {self.topo.named - self.topo.declared} unresolved)"

    def check(self):
        """Raise AssertionError when an invariant is broken."""
        cdef const char* wrong = topo_check(&self.topo)
        if wrong is NULL and <size_t>len(self.items) != self.topo.places.size():
            wrong = b"items and places differ in length"
        if wrong is not NULL:
            raise AssertionError(wrong.decode())
