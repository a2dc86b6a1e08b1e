"""`Ledger`: a file that stands for the outside world: one line for each effect that a step has on it.

Lives here: appending and reading. Does not live here: what may stand in it (``judge.py``).
"""

import json
import os


class Ledger:
    """Lines appended by any number of processes. Each is one ``write``, so a killed process leaves whole ones only."""

    def __init__(self, path):
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._read = 0

    def write(self, **entry):
        line = json.dumps(entry).encode() + b"\n"
        assert os.write(self._file, line) == len(line)

    def news(self):
        """The entries that this reader has not seen yet."""
        size = os.fstat(self._file).st_size
        text = os.pread(self._file, size - self._read, self._read)
        self._read = size
        return [json.loads(line) for line in text.splitlines()]

    def close(self):
        os.close(self._file)
