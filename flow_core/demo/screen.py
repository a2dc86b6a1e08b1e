"""What a terminal shows while something runs: lines of text anywhere, live tables and bars where rich is installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol, Self, TextIO

from flow_core import Status

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.table import Table

__all__ = ["ProgressBar", "Screen", "progress_bar", "screen"]

_MARKS = {
    Status.RUNNING: ("..", "yellow"), Status.SUCCESS: ("ok", "green"), Status.FAILURE: ("failed", "red"),
    Status.SKIPPED: ("skipped", "bright_black"), Status.ABORTED: ("aborted", "magenta"),
}  # fmt: skip


def can_be_live(stream: TextIO) -> bool:
    """Whether ``stream`` is a terminal and rich is there."""
    return stream.isatty() and find_spec("rich") is not None


# --- a story with moving steps -------------------------------------------------------------------------------------


class Screen(Protocol):
    """Where a story is told: narration, and the steps that move. A context manager."""

    def say(self, text: str = "") -> None:
        """Narration."""

    def moved(self, name: str, step: str, status: Status, attempt: int, seconds: float) -> None:
        """A step of the execution ``name`` moved, so many seconds after its start."""

    def finish(self) -> None:
        """Nothing moves any more; there may still be something to say."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class PlainScreen:
    """Lines of text, in the order of what happens."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def say(self, text: str = "") -> None:
        print(text, file=self.stream, flush=True)

    def moved(self, name: str, step: str, status: Status, attempt: int, seconds: float) -> None:
        again = f" (attempt {attempt})" if attempt > 1 else ""
        self.say(f"  {name} {seconds:6.2f} s  {step:<16} {status.name.lower()}{again}")

    def finish(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class LiveScreen:
    """A table that changes in place below the narration: one row per step, one column per execution."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=stream, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False)
        self._cells: dict[str, dict[str, str]] = {}
        self._columns: dict[str, None] = {}

    def say(self, text: str = "") -> None:
        from rich.text import Text

        self._console.print(Text(text))

    def moved(self, name: str, step: str, status: Status, attempt: int, seconds: float) -> None:
        text, colour = _MARKS.get(status, (status.name.lower(), "white"))
        again = f" x{attempt}" if attempt > 1 else ""
        self._columns[name] = None
        self._cells.setdefault(step, {})[name] = f"[{colour}]{text}{again}[/] [bright_black]{seconds:.2f} s[/]"
        self._live.update(self._table(), refresh=True)

    def _table(self) -> Table:
        from rich.table import Table

        table = Table("step", *self._columns)
        for step, cells in self._cells.items():
            table.add_row(step, *(cells.get(column, "") for column in self._columns))
        return table

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def finish(self) -> None:
        self._live.stop()


def screen(stream: TextIO, *, plain: bool = False) -> Screen:
    """The screen that ``stream`` can show."""
    return LiveScreen(stream) if can_be_live(stream) and not plain else PlainScreen(stream)


# --- a bar ---------------------------------------------------------------------------------------------------------


class ProgressBar(Protocol):
    """Something that shows how far an execution is."""

    def update(self, running: int, done: int) -> None:
        """So many steps run, so many are done."""


class PlainBar:
    """A line at the start and after each tenth: for logs, and terminals without rich."""

    def __init__(self, name: str, total: int, stream: TextIO) -> None:
        self.name, self.total, self.stream = name, total, stream
        self.shown = -1

    def update(self, running: int, done: int) -> None:
        tenth = 10 * done // self.total
        if tenth > self.shown:
            self.shown = tenth
            percent = f"{100 * done // self.total:3d} %"
            line = f"{self.name}: {percent} ({done:,} of {self.total:,} steps, {running:,} running)"
            print(line, file=self.stream, flush=True)


class LiveBar:
    """rich's progress bar."""

    def __init__(self, name: str, total: int, progress: Progress) -> None:
        self.progress = progress
        self.task = progress.add_task(name, total=total, running=0)

    def update(self, running: int, done: int) -> None:
        self.progress.update(self.task, completed=done, running=running)


@contextmanager
def _live_bar(name: str, total: int, stream: TextIO) -> Iterator[ProgressBar]:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns: tuple[Any, ...] = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[running]} running"), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(file=stream)) as progress:
        yield LiveBar(escape(name), total, progress)


@contextmanager
def _plain_bar(name: str, total: int, stream: TextIO) -> Iterator[ProgressBar]:
    yield PlainBar(name, total, stream)


def progress_bar(name: str, total: int, stream: TextIO) -> AbstractContextManager[ProgressBar]:
    """The bar that ``stream`` can show, for ``total`` steps."""
    return (_live_bar if can_be_live(stream) else _plain_bar)(name, total, stream)
