"""`KeyFile`: the file of a `KeyRing`. Whoever can write it can make itself admin, so it belongs to the server alone."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from flow_core.errors import InvalidOption
from flow_core.service.security.keys import Key, KeyRing

__all__ = ["KeyFile"]

T = TypeVar("T")

#: Seconds between two looks whether the file changed: as long may a revoked key still work.
LOOK_AGAIN: Final = 1.0
#: More than a million keys are a mistake.
MOST_BYTES: Final = 256 * 1024 * 1024

log = logging.getLogger(__name__)


class KeyFile:
    """The API keys of a server in a file, read again when it changes.

    Example::

        keys = KeyFile("/etc/flow-core/keys.json")
        server = FlowServer(flow, guard=KeyGuard(keys), tls=ServerTls("cert.pem", "key.pem"))

    Args:
        path: of the file. It may not exist yet: then there are no keys.
        clock: seconds that only grow, for the looks whether it changed.
        now: UTC seconds, for expiry.

    A file that turns bad while it is in use (unreadable, open to others, no keys) is logged as an error; the keys that
    were read before stay as they are, and nothing of the bad file counts.
    """

    def __init__(
        self, path: str | Path, *, clock: Callable[[], float] = time.monotonic, now: Callable[[], float] = time.time
    ) -> None:
        self.path = Path(path)
        self.now = now
        self._clock = clock
        self._ring = KeyRing()
        self._seen: tuple[int, ...] | None = None
        self._next = -1.0

    def load(self) -> KeyRing:
        """Read the file. Raises `InvalidOption` that names the file and what is wrong with it."""
        self._seen, self._ring = self._signature(), self._read()
        self._next = self._clock() + LOOK_AGAIN
        return self._ring

    @property
    def ring(self) -> KeyRing:
        """The keys, not older than a second."""
        if self._clock() >= self._next:
            self._look()
        return self._ring

    def _look(self) -> None:
        self._next = self._clock() + LOOK_AGAIN
        signature = self._signature()
        if signature == self._seen:
            return
        self._seen = signature
        try:
            self._ring = self._read()
            log.info("read %s again: %d keys", self.path, len(self._ring))
        except InvalidOption as error:
            log.error("could not reload the key file, keeping the old keys: %s", error)

    def find(self, text: str) -> Key | None:
        """The valid key that ``text`` is; see `KeyRing.find`."""
        return self.ring.find(text, self.now())

    def change(self, change: Callable[[KeyRing, float], tuple[KeyRing, T]]) -> T:
        """Change the ring under a lock that other processes respect, and write it; returns what ``change`` did beside.

        Raises:
            InvalidOption: the file or its folder can't be used; and what ``change`` raises. The file is as it was.
        """
        with self._locked():
            ring, result = change(self.load(), self.now())
            self._write(ring)
        self.load()
        return result

    # --- the file -----------------------------------------------------------------------------------------------------

    def _signature(self) -> tuple[int, ...] | None:
        try:
            facts = os.stat(self.path)
        except OSError:
            return None
        return facts.st_ino, facts.st_mtime_ns, facts.st_size, facts.st_mode, facts.st_uid

    def _read(self) -> KeyRing:
        try:
            number = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return KeyRing()
        except OSError as error:
            raise InvalidOption(f"the keys in {self.path} can't be read: {error.strerror}") from None
        try:
            self._refuse_open(os.fstat(number))  # of what was opened, not of what has the name by now
            with open(number, "rb", closefd=False) as file:
                text = file.read(MOST_BYTES)
        finally:
            os.close(number)
        return KeyRing.from_json(text, str(self.path))

    def _refuse_open(self, facts: os.stat_result) -> None:
        if not stat.S_ISREG(facts.st_mode):
            raise InvalidOption(f"{self.path} is not a plain file", fix="name a file for the keys")
        if os.name != "posix":
            return
        if facts.st_mode & 0o077:
            mode = stat.filemode(facts.st_mode)
            raise InvalidOption(
                f"others can get at the keys in {self.path} ({mode})",
                fix=f"chmod 600 {self.path}; rotate the keys if others did",
            )
        trusted = {os.geteuid(), 0}
        if os.geteuid() == 0:  # an administrator, at the file of a server that runs as the folder's owner
            trusted.add(os.stat(self.path.parent).st_uid)
        if facts.st_uid not in trusted:
            raise InvalidOption(f"the keys in {self.path} belong to another user", fix=f"chown {self.path}")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            import fcntl
        except ImportError:  # Windows: one administrator at a time
            yield
            return
        folder = self.path.parent
        try:
            number = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise InvalidOption(
                f"the folder of the keys, {folder}, can't be used: {error.strerror}", fix=f"mkdir -m 700 {folder}"
            ) from None
        try:
            fcntl.flock(number, fcntl.LOCK_EX)
            yield
        finally:
            os.close(number)  # and with it the lock

    def _write(self, ring: KeyRing) -> None:
        """Put a new file in the place of the old one: readers see one or the other, and so do those after a crash."""
        fresh = self.path.with_name(f".{self.path.name}.{os.getpid()}.new")
        try:
            with contextlib.suppress(FileNotFoundError):
                fresh.unlink()  # of a process of this number that was killed
            number = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(number, "w", encoding="utf-8") as file:
                self._give_away(number)
                file.write(ring.to_json())
                file.flush()
                os.fsync(number)
            os.replace(fresh, self.path)
            _sync_folder(self.path.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                fresh.unlink()
            raise InvalidOption(f"the keys in {self.path} can't be written: {error.strerror}") from None

    def _give_away(self, number: int) -> None:
        """root makes keys for a server that runs as somebody else: the file stays that user's, or its folder's."""
        if os.name == "posix" and os.geteuid() == 0:
            facts = os.stat(self.path if self.path.exists() else self.path.parent)
            os.fchown(number, facts.st_uid, facts.st_gid)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    number = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)
