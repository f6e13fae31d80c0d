"""Valid documents of every source, with each number and text in turn at the ends of what JSON and the tables' types can hold."""

from __future__ import annotations

import copy
import datetime as dt
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jobs.generator.formats import FORMATS
from jobs.generator.generate import generate
from jobs.landing import zone

NIGHT = dt.date(2026, 11, 20)
LISTS = ("payloads", "events", "pl")
NUMBERS: tuple[float, ...] = (
    *(0, -1, -0.0, 5e-324, 1e18, 1.7e308, -1.7e308, 2**63 - 1, -(2**63), 2**64 - 1),
    *(-62135596800000, 253402300799999, 1795132800000000000),  # the years 1 and 9999 in milliseconds; nanoseconds
)
TEXTS = (
    *("", "\u0000", "\U0010ffff", "x" * 50_000, "9" * 400, "1.7e308", "-1.7e308", "2026-11-20 10:00:00"),
    *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"),
)
Steps = tuple[Any, ...]


def land_variants(root: Path) -> None:
    """Land one file per source, of every kind of document that the generator writes and of its variants."""
    for source, documents in kinds(root.parent / "generated").items():
        lines = [json.dumps(variant) for document in documents for variant in variants(document)]
        folder = root / source / f"date={NIGHT}" / "hour=10"
        folder.mkdir(parents=True)
        (folder / "extremes.jsonl").write_text("\n".join(lines))


def kinds(generated: Path) -> dict[str, list[Any]]:
    """Per source one document of every kind that the generator writes into this folder."""
    generate(generated, NIGHT, events=400, seed=3, faults=0, workers=1)
    found: dict[str, dict[Any, Any]] = {source: {} for source in FORMATS}
    for source, documents in found.items():
        for file in zone.landed(generated, source, NIGHT):
            for line in b"".join(zone.chunks(generated, file, hashlib.sha256())).decode("utf-8-sig").splitlines():
                for document in _single(json.loads(line)) if line.strip() else ():
                    documents.setdefault(_kind(document), document)
    return {source: list(documents.values()) for source, documents in found.items()}


def variants(document: Any) -> Iterator[Any]:
    """The document, and one per number or text in it and value in its place, each with an id of its own."""
    yield document
    number = 0
    for path, value in leaves(document):
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        for extreme in NUMBERS if is_number else TEXTS if isinstance(value, str) else ():
            number += 1
            variant = copy.deepcopy(document)
            node = variant
            for key in path[:-1]:
                node = node[key]
            node[path[-1]] = extreme
            event = _event(variant)
            for name in {"mid", "euid"} & (event.keys() - {path[-1]}):
                event[name] += f"-{number}"
            if "meta" in event and path[-1] != "id":
                event["meta"]["id"] = f"00000000-0000-0000-0000-{number:012}"
            yield variant


def leaves(node: Any, path: Steps = ()) -> Iterator[tuple[Steps, Any]]:
    """What is neither an object nor an array, with where it stands; of an array its first two items."""
    if isinstance(node, dict):
        for name, child in node.items():
            yield from leaves(child, (*path, name))
    elif isinstance(node, list):
        for number, child in enumerate(node[:2]):
            yield from leaves(child, (*path, number))
    else:
        yield path, node


def _single(document: Any) -> list[Any]:
    """The events of a line, each in a batch of its own where they stand in one."""
    if isinstance(document, list):
        return document
    name = next((name for name in LISTS if isinstance(document.get(name), list)), None)
    return [document] if name is None else [{**document, name: [item]} for item in document[name]]


def _event(document: Any) -> Any:
    return next((document[name][0] for name in LISTS if isinstance(document.get(name), list)), document)


def _kind(document: Any) -> tuple[Any, ...]:
    event = _event(document)
    return event is document, *(event.get(name) for name in ("action", "eid", "ea", "$schema"))
