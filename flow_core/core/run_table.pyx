"""`RunTable`: the executions of one executor by row and by id, both running ones and those still remembered."""

import collections

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memset

from flow_core.core.status_table cimport ExecutionRow, UNKNOWN

from flow_core.errors import QueueFull

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(PyObject* object) noexcept


@cython.final
@cython.no_gc_clear     # see the end of scheduler.pyx
cdef class RunTable:
    """The executions of one executor, by id.

    Args:
        table: lends the rows.
        keep: how many finished executions stay known.
        nonce: 32 random bits that make generated ids differ from those of other processes.
    """

    def __cinit__(self, StatusTable table not None, Py_ssize_t keep, uint64_t nonce):
        self.table, self.keep, self.nonce = table, keep, nonce
        self.kept = collections.deque()

    def __dealloc__(self):
        PyMem_Free(self.tenants)

    cdef int add(self, Run run, int lane, uint64_t now) except -1:
        """Give a run its row and its id; ``now`` is milliseconds since the epoch. On an error nothing has changed."""
        cdef int64_t slot = self.table.acquire_c()
        cdef ExecutionRow* row
        cdef Tenant* tenants
        if slot < 0:
            raise QueueFull(f"the executor holds {len(self.table)} executions, as many as its table has rows")
        if <size_t>slot >= self.capacity:
            tenants = <Tenant*>PyMem_Realloc(self.tenants, 2 * (<size_t>slot + 32) * sizeof(Tenant))
            if tenants is NULL:
                self.table.release_c(<uint32_t>slot)
                raise MemoryError("no memory for another execution")
            memset(tenants + self.capacity, 0, (2 * (<size_t>slot + 32) - self.capacity) * sizeof(Tenant))
            self.tenants, self.capacity = tenants, 2 * (<size_t>slot + 32)
        row = self.table.row_ptr(<uint32_t>slot)
        row.steps, row.lane = run.count, <uint8_t>lane
        # UUIDv7 (RFC 9562): 48 bits of milliseconds, then 74 that are ours: 18 of generation, 24 of slot, 32 of nonce.
        row.id_high = now << 16 | 0x7000 | (row.generation & 0xFFF)
        row.id_low = <uint64_t>2 << 62 | <uint64_t>((row.generation >> 12) & 0x3F) << 56
        row.id_low |= <uint64_t>slot << 32 | self.nonce
        run.row, run.slot, run.table = row, slot, <PyObject*>self.table
        Py_INCREF(self.table)
        self.tenants[slot] = Tenant(<PyObject*>run, row.generation)
        Py_INCREF(run)                      # our own reference, until `retire`
        self.live += 1
        return 0

    cdef int retire(self, Run run) except -1:
        """A run is over: it is kept for a while."""
        self.live -= 1
        if self.keep > 0:
            self.kept.append(run)
        Py_DECREF(run)
        return 0

    cdef int forget(self) except -1:
        """Drop the oldest finished runs beyond `keep`. Last of all: what they hold may run code when it dies."""
        while len(self.kept) > max(self.keep, 0):
            self.kept.popleft()
        return 0

    def lookup(self, size_t slot, unsigned int generation):
        """The run in a row, when it is still the one of that generation; else None."""
        cdef ExecutionRow* row
        cdef PyObject* found
        if slot >= self.capacity or slot >= <size_t>self.table.table.high_water:
            return None
        row = self.table.row_ptr(<uint32_t>slot)
        if row.status == UNKNOWN or (row.generation & 0x3FFFF) != generation:
            return None
        found = self.tenant(slot)
        return None if found is NULL else <object>found

    def known(self):
        """All runs that are live, kept, or held by somebody, in no particular order."""
        cdef size_t slot
        cdef PyObject* run
        found = []
        for slot in range(self.capacity):
            run = self.tenant(slot)
            if run is not NULL:
                found.append(<object>run)
        return found

    cdef PyObject* tenant(self, size_t slot) noexcept:
        """The run in a row, NULL when it is dead or dying: its last act may be a callback that looks for it."""
        cdef ExecutionRow* row = self.table.row_ptr(<uint32_t>slot)
        cdef Tenant* tenant = self.tenants + slot
        if tenant.run is NULL or row.status == UNKNOWN or row.generation != tenant.generation:
            return NULL
        return tenant.run if Py_REFCNT(tenant.run) > 0 else NULL
