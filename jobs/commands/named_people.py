"""The people whom a call names: by its options, and in a file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs.errors import UsageError
from jobs.night import check_sources
from jobs.people import erasures
from jobs.rules import privacy_rules
from jobs.settings import Settings
from transforms.privacy.people import COLUMNS, Kind, People
from transforms.sources.registry import SOURCES

_Named = tuple[str, Kind, str]  # source, kind and id
_HOW = "name them with --user ID, --device ID or --from FILE"


def of_call(
    settings: Settings, source: str | None, users: Sequence[str], devices: Sequence[str], file: Path | None = None
) -> dict[str, People]:
    """The people, per source. Raises UsageError when nobody is named, or a source or a kind of id is not known."""
    if source is not None:
        check_sources([source])
    named = [(source, kind, text) for kind, ids in (("user", users), ("device", devices)) for text in ids]
    if source is None and named:
        raise UsageError(f"whose id is it? name the source: --source {', '.join(sorted(SOURCES))}")
    people: dict[str, dict[Kind, set[str]]] = {}
    for of_source, kind, text in [*_checked(named), *(_in_file(file, source) if file is not None else ())]:
        people.setdefault(of_source, {}).setdefault(kind, set()).add(text)
    if not people:
        raise UsageError(f"nobody is named: {_HOW}")
    pseudonyms = privacy_rules(settings).pseudonyms
    return {
        of_source: People({kind: frozenset(ids) for kind, ids in of_kind.items()}, pseudonyms, erasures.names_of(of_source))
        for of_source, of_kind in sorted(people.items())
    }


def _checked(named: Sequence[tuple[Any, Any, str]]) -> Iterator[_Named]:
    for source, kind, text in named:
        if not text:
            raise UsageError(f"the id of a {kind} is empty: is a variable of the shell not set?")
        if COLUMNS[kind][0] not in SOURCES[source].ids:
            other = "device" if kind == "user" else "user"
            raise UsageError(f"{source} has no ids of {kind}s: name the {other} with --{other}")
        yield source, kind, text


def _in_file(file: Path, source: str | None) -> Iterator[_Named]:
    """The people in a file: per line an id, or a JSON object with `user` or `device` or both, and `source` unless --source names it."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"the file {file} cannot be read ({why}): name another with --from") from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield from _checked(list(_in_line(line.strip(), source)))
            except UsageError as error:
                raise UsageError(f"line {number} of {file}: {error}") from None


def _in_line(line: str, source: str | None) -> Iterator[tuple[str, str, str]]:
    if not line.startswith("{"):
        if source is None:
            raise UsageError("it has an id alone: name the source with --source")
        yield source, "user" if COLUMNS["user"][0] in SOURCES[source].ids else "device", line
        return
    try:
        given: Mapping[str, Any] = json.loads(line)
    except ValueError:
        raise UsageError("it is neither an id nor JSON") from None
    of_source = given.get("source", source)
    kinds = [kind for kind in COLUMNS if given.get(kind) is not None]
    if of_source is None or not kinds or set(given) - {"source", *COLUMNS}:
        raise UsageError('write it as {"source": "sunbird", "user": ID} or {"source": "sunbird", "device": ID}')
    check_sources([str(of_source)])
    yield from ((str(of_source), kind, str(given[kind])) for kind in kinds)
