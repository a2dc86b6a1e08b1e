"""Named counters that any thread can increment and read without a lock."""
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from libc.stdint cimport uint64_t

from types import MappingProxyType

__all__ = ["Counters"]


cdef class Counters:
    """A fixed set of relaxed atomic counters (64 bits, wrapping), all zero at first.

    Args:
        names: one distinct name per counter.

    Raises:
        TypeError: a name is not a str.
        ValueError: a name is given twice.
    """

    def __cinit__(self, names):
        if isinstance(names, str):
            raise TypeError(f"names must be a sequence of str, not the str {names!r:.80}")
        self.names = tuple(names)
        self.places = {}
        for i, name in enumerate(self.names):
            if not isinstance(name, str):
                raise TypeError(f"the name of a counter must be a str, not {type(name).__name__}: {name!r:.80}")
            if name in self.places:
                raise ValueError(f"two counters have the name {name!r:.80}")
            self.places[name] = i
        self.cells = <Cell*>PyMem_RawMalloc(max(1, len(self.names)) * sizeof(uint64_t))
        if self.cells is NULL:
            raise MemoryError("no memory for the counters")
        counter_init(self.cells, <size_t>len(self.names))

    def __dealloc__(self):
        PyMem_RawFree(self.cells)

    cdef Py_ssize_t place(self, object key) except -1:
        cdef object at
        if isinstance(key, str):
            at = self.places.get(key)
            if at is None:
                raise KeyError(f"no counter {key!r:.80}; there are {', '.join(self.names)}")
            return at
        if isinstance(key, bool) or not isinstance(key, int):
            raise TypeError(f"a counter is named by str or int, not {type(key).__name__}: {key!r:.80}")
        if not 0 <= key < len(self.names):
            raise IndexError(f"no counter {key}; there are {len(self.names)}")
        return key

    def add(self, key, n=1):
        """Add ``n`` (0 <= n < 2**64) to the counter named or numbered ``key``; from any thread.

        Raises:
            KeyError, IndexError, TypeError: there is no such counter.
            ValueError: n is negative or too large.
        """
        cdef Py_ssize_t at = self.place(key)
        if isinstance(n, bool) or not isinstance(n, int):
            raise TypeError(f"n must be an int, not {type(n).__name__}: {n!r:.80}")
        if not 0 <= n < 2**64:
            raise ValueError(f"n must be within 0 and 2**64-1, not {n}")
        counter_add(self.cells, <size_t>at, n)

    def value(self, key):
        """The count now. Raises like `add`."""
        return counter_get(self.cells, <size_t>self.place(key))

    def snapshot(self):
        """All counts as an immutable mapping name -> count.

        Each count may be a moment old, and they need not be of the same moment.
        """
        cdef size_t i = 0
        cdef dict counts = {}
        for name in self.names:
            counts[name] = counter_get(self.cells, i)
            i += 1
        return MappingProxyType(counts)

    def __len__(self):
        return len(self.names)

    def __repr__(self):
        return f"Counters({dict(self.snapshot())!r})"

    def check(self):
        """Raise AssertionError when an invariant is broken."""
        if len(self.places) != len(self.names) or any(self.names[i] != name for name, i in self.places.items()):
            raise AssertionError("the names and places of the counters differ")
