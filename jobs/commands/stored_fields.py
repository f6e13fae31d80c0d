"""What is stored of a person, per source and field, as the rules about personal data say: the tables in docs/privacy.md.

python -m jobs.commands.stored_fields
"""

from __future__ import annotations

from collections.abc import Iterator

from jobs.console.printing import print_line
from jobs.settings import Privacy, SourcePrivacy
from schemas.events import EVENTS
from transforms.privacy.documents import USER_AGENT_NAMES
from transforms.privacy.secret_names import normalised
from transforms.sources.registry import SOURCES

_DONE = {
    None: "as it landed; its pseudonym, if it is an address",
    "keep": "as it landed",
    "hash": "its pseudonym",
    "drop": "dropped",
    "truncate": "IP addresses as their networks",
    "redact": "addresses, keys and telephone numbers become their kind in brackets",
}
_DEFAULTS = {
    "keep": "kept, but for the names and patterns below",
    "drop": "dropped from `properties` and `context`; columns are kept, but for the patterns below",
}


def lines(privacy: Privacy) -> list[str]:
    """The tables as lines of Markdown."""
    rows = ["| source | field | column | what is stored |", "|---|---|---|---|"]
    for source in sorted(SOURCES):
        rows += (f"| `{source}` | {field} | {column} | {stored} |" for field, column, stored in _fields(source, privacy))
    names = [name for name in map(normalised, (*privacy.names, *privacy.additional_names)) if name not in USER_AGENT_NAMES]
    personal = [column.name for column in EVENTS.columns if column.is_personal]
    return [
        *rows,
        "",
        f"Names of fields that are dropped wherever they stand ({len(set(names))}, compared in lower case without anything but letters and"
        f" digits): {', '.join(f'`{name}`' for name in sorted(set(names)))}.",
        "",
        f"User agents, dropped likewise: {', '.join(f'`{name}`' for name in sorted(USER_AGENT_NAMES))}.",
        "",
        f"Looked for in every other text: {', '.join(f'`{kind}`' for kind in privacy.patterns)}.",
        "",
        f"Columns of `events` that can hold text of people, without bounds in statistics: {', '.join(f'`{name}`' for name in personal)}.",
    ]


def _fields(source: str, privacy: Privacy) -> Iterator[tuple[str, str, str]]:
    own = privacy.sources.get(source) or SourcePrivacy()
    ids = {pointer: column for column, pointers in SOURCES[source].ids.items() for pointer in pointers}
    for pointer, column in ids.items():
        yield f"`{pointer}`", f"`{column}`", _DONE[own.rules.get(pointer)]
    for pointer, action in own.rules.items():
        if pointer not in ids and action is not None:
            yield f"`{pointer}`", "", _DONE[action]
    yield "any other", "", _DEFAULTS[own.default]


if __name__ == "__main__":
    from jobs import settings

    for line in lines(settings.load().privacy):
        print_line(line)
