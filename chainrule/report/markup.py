"""HTML and SVG elements whose text is always escaped."""

from __future__ import annotations

from html import escape
from typing import Any

VOID = frozenset({"meta", "br", "col"})


class Markup(str):
    """Text that is markup already; any other text is escaped where it is put into an element."""

    __slots__ = ()


def element(tag: str, *children: str, **attributes: Any) -> Markup:
    """Return an element with these children; what is not `Markup` is text.

    Attributes are written with ``-`` for ``_``, and without one at the end (``class_``); None leaves one out.

    >>> element("td", "a < b", element("em", "c"), class_="name", data_row=3)
    '<td class="name" data-row="3">a &lt; b<em>c</em></td>'
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in VOID:
        return Markup(f"<{tag}{written}>")
    return Markup(f"<{tag}{written}>{join(children)}</{tag}>")


def join(parts: Any) -> Markup:
    """Return parts one after another; what is not `Markup` is escaped."""
    return Markup("".join(part if isinstance(part, Markup) else escape(part) for part in parts))
