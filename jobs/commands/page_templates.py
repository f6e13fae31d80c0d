"""The templates of pages, with the formats of numbers as filters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from jobs.commands import number_formats
from jobs.console.table_layout import printable

if TYPE_CHECKING:
    import jinja2


LINKS = (
    ("Overview", "index.html"),
    ("Visitors and more", "marts.html"),
    ("Checks", "checks.html"),
    ("Data dictionary", "dictionary.html"),
)


@dataclass(frozen=True)
class SitePlace:
    """Where a page stands in a site, for its navigation."""

    current: str  # its path from the root of the site
    root: str = ""  # the path from its folder to the root of the site
    earlier: str = ""  # the night of the report before it
    later: str = ""

    @property
    def links(self) -> tuple[tuple[str, str], ...]:
        """The pages that every page leads to: name, and path from the root."""
        return LINKS


@cache
def environment() -> jinja2.Environment:
    """The templates. Texts in the tables come from landed files, so all texts are escaped, control characters too."""
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.PackageLoader("jobs", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: printable(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(number=number_formats.number, share=number_formats.share, clock=number_formats.clock, size=number_formats.size)
    return made
