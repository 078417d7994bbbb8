"""Tables and figures of a page."""

from __future__ import annotations

from collections.abc import Sequence

from .markup import Markup, element, join


def table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]], class_: str = "") -> Markup:
    """Return a table whose first column names its rows; cells are text or `Markup`."""
    head = element("tr", *(element("th", name, scope="col") for name in heads))
    body = join(
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:])) for row in rows
    )
    found = element(
        "table", element("caption", caption), element("thead", head), element("tbody", body), class_=class_ or None
    )
    return element("div", found, class_="scroll")


def figure(drawn: Markup, caption: str, class_: str | None = None) -> Markup:
    """Return a drawing with what it shows below it."""
    return element("figure", drawn, element("figcaption", caption), class_=class_)


def section(name: str, title: str, *parts: Markup) -> Markup:
    """Return a section that the table of contents can lead to."""
    return element(
        "section", element("h2", title, id=f"{name}-title"), *parts, id=name, aria_labelledby=f"{name}-title"
    )


def paragraph(*parts: str, class_: str | None = None) -> Markup:
    """Return a paragraph."""
    return element("p", *parts, class_=class_)
