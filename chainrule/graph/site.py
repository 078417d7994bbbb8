"""Where in the user's program a vertex was made: file, line, and the path of modules being called."""

from __future__ import annotations

import itertools
import os
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

# With the separator: a user's folder may be called chainrule_experiments. Unresolved, as code objects name their files.
_PACKAGE = str(Path(__file__).parent.parent) + os.sep


class Site(NamedTuple):
    """The user's source line and the path of the module (``"encoder.0"``) in whose ``forward`` it ran."""

    file: str
    line: int
    module: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}"
        return f"{place}, in module {self.module!r}" if self.module else place


UNKNOWN = Site("<unknown>", 0, "")


def _children(owner: object) -> dict[str, Any] | None:
    """The modules inside ``owner``, None if it is no module. Reads its dictionary: attributes may be computed."""
    children = getattr(owner, "__dict__", {}).get("_modules")
    return children if isinstance(children, dict) else None


def _module_path(callers: list[object]) -> str:
    """Name each module on the call stack inside the one that called it: outermost first."""
    names: list[str] = []
    for parent, child in itertools.pairwise(callers):
        names += [name for name, candidate in (_children(parent) or {}).items() if candidate is child][:1]
    return ".".join(names)


class _Assumed(threading.local):
    """On each thread, the site that vertices get instead of the line that is running."""

    site: Site | None = None


_assumed = _Assumed()


class made_at:
    """Give vertices made within the context this site: what a pass derives belongs to the line it is derived from."""

    __slots__ = ("before", "site")

    def __init__(self, site: Site) -> None:
        self.site = site

    def __enter__(self) -> None:
        self.before, _assumed.site = _assumed.site, self.site

    def __exit__(self, *error: object) -> None:
        _assumed.site = self.before


def find_site() -> Site:
    """Return the innermost frame outside this package, and the modules on the stack: the ``self`` of ``__call__``.

    Called only when a vertex is made for the first time or an error is raised, so recording stays cheap. Locals of
    other functions are not read: Python would keep a copy of them, and what they hold alive, until they return.
    """
    if _assumed.site is not None:
        return _assumed.site
    frame: FrameType | None = sys._getframe(1)
    file, line, modules = "", 0, []
    while frame is not None:
        code = frame.f_code
        if not file and not code.co_filename.startswith(_PACKAGE):
            file, line = code.co_filename, frame.f_lineno
        if code.co_name == "__call__":
            owner = frame.f_locals.get("self")
            if _children(owner) is not None:
                modules.append(owner)
        frame = frame.f_back
    return Site(file or UNKNOWN.file, line, _module_path(modules[::-1]) if modules else "")
