"""What installed distributions add to flow-core: operation types, and schemes of clients and stores.

Only names from *code* lead to an import: those of the tables of built-in classes, and entry points that somebody
installed. A name from a URL or a stored flow merely chooses among them.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from flow_core.errors import FlowError, InvalidOption, did_you_mean

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["Plugins", "Schemes", "scheme_of", "shown"]

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):").match


class Plugins:
    """Entry points of one group, by name. Each is imported when it is first asked for, and only it: a broken plug-in
    hurts nobody who does not use it.

    Args:
        group: of the entry points, e.g. ``"flow_core.rpc"``.
        what: what one of them is, for errors, its name follows: ``"operation of type"``.
        unknown, duplicate: classes of the errors.
    """

    def __init__(
        self, group: str, what: str, *, unknown: type[FlowError] = InvalidOption,
        duplicate: type[FlowError] = InvalidOption,
    ) -> None:  # fmt: skip
        self._group = group
        self._what = what
        self._unknown = unknown
        self._duplicate = duplicate
        self._points: dict[str, list[EntryPoint]] | None = None

    def names(self) -> frozenset[str]:
        """Every name that an installed distribution offers; nothing is imported."""
        return frozenset(self._found())

    def load(self, name: str, check: Callable[[Any], object], fix: str | None = None) -> Any:
        """The object behind ``name``. ``check`` raises when it can't be used; ``fix`` is for a name nobody offers.

        Raises:
            the error ``unknown``: nobody offers it, or what is offered can't be imported or used.
            the error ``duplicate``: two distributions offer it.
        """
        points = self._found().get(name, [])
        if not points:
            raise self._unknown(f"no {self._what} {name!r:.80} is known", fix=fix)
        if len(points) > 1:
            raise self._duplicate(
                f"{self._what} {name!r} is offered by several plug-ins: {', '.join(map(_describe, points))}",
                fix="uninstall one of them, or register a class of your own under this name",
            )
        try:
            found = points[0].load()
            check(found)
        except Exception as error:
            raise self._unknown(
                f"the plug-in {_describe(points[0])} for {self._what} {name!r} can't be used: "
                f"{type(error).__name__}: {error}"
            ) from error
        return found

    def _found(self) -> dict[str, list[EntryPoint]]:
        if self._points is None:
            from importlib.metadata import entry_points  # 30 ms, and most processes need no plug-in

            found: dict[str, list[EntryPoint]] = {}
            for point in entry_points(group=self._group):
                if point not in found.setdefault(point.name, []):  # one distribution may be on the path twice
                    found[point.name].append(point)
            self._points = found
        return self._points


class Schemes:
    """Classes by the scheme of a URL, which is the first argument of their constructors.

    Args:
        group: of the entry points of plug-ins, whose names are schemes.
        what: what the classes are, for errors: ``"rpc client"``.
        base: the class that all of them are subclasses of.
        built_in: scheme -> ``"module:class"``. These win over plug-ins.
    """

    def __init__(self, group: str, what: str, base: type, built_in: Mapping[str, str]) -> None:
        self._what = what
        self._base = base
        self._group = group
        self._classes: dict[str, Any] = {}
        self._built_in = dict(built_in)
        self._plugins = Plugins(group, f"{what} for the scheme")

    def names(self) -> tuple[str, ...]:
        """Every scheme that is known, sorted; nothing is imported."""
        return tuple(sorted(self._built_in.keys() | self._plugins.names()))

    def resolve(self, url: str) -> Any:
        """The class for a URL.

        Raises:
            InvalidOption: there is none for its scheme, or the plug-in that offers one can't be used.
            ImportError: its library is not installed; the message names the extra.
        """
        scheme = scheme_of(url, self._what)
        found = self._classes.get(scheme)
        if found is None:
            place = self._built_in.get(scheme)
            if place is not None:
                module, _, name = place.partition(":")
                found = getattr(importlib.import_module(module), name)
            else:
                known = self.names()
                fix = did_you_mean(scheme, known) or (
                    f"known are {', '.join(known)}; others come with a plug-in (entry point in the group {self._group})"
                )
                found = self._plugins.load(scheme, self._check, fix)
            self._classes[scheme] = found
        return found

    def _check(self, found: Any) -> None:
        if not (isinstance(found, type) and issubclass(found, self._base)):
            raise InvalidOption(f"it is no subclass of {self._base.__name__}: {found!r:.80}")
        if inspect.isabstract(found):
            missing = getattr(found, "__abstractmethods__", ())
            raise InvalidOption(f"{found.__qualname__} lacks {', '.join(sorted(missing))}")


def scheme_of(url: str, what: str) -> str:
    """The scheme of a URL in lower case. Raises `InvalidOption`, which does not repeat the URL."""
    found = _SCHEME(url) if isinstance(url, str) else None
    if found is None:
        raise InvalidOption(f"the {what} is given by no URL", fix="write scheme://host:port")
    return found[1].lower()


def shown(url: str) -> str:
    """A URL as it may be printed: without credentials, query and fragment."""
    scheme, separator, rest = url.partition("://")
    rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    place, slash, path = rest.partition("/")
    return f"{scheme}{separator}{place.rpartition('@')[2]}{slash}{path}"


def _describe(point: EntryPoint) -> str:
    distribution = f" of {point.dist.name}" if point.dist is not None else ""
    return f"{point.value!r}{distribution}"
