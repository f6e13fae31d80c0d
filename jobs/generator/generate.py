"""Write the files that land on a night, and the expected result of that night."""

from __future__ import annotations

import dataclasses
import datetime as dt
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from jobs.generator.arrivals import Parameters, arrivals, seed_bits
from jobs.generator.format import Format
from jobs.generator.formats import FORMATS
from jobs.generator.landing_files import GeneratedFile, landed_files, write
from jobs.generator.rows import GeneratedRows
from jobs.generator.truth import SourceTruth, Truth, replayed, source_truth, source_truth_from_json, total_truth
from jobs.generator.visits import day_number

TRUTH_FOLDER = "_truth"
# Below so many records other processes take longer to start than to work.
_WORTH_A_POOL = 50_000


def generate(
    landing: Path,
    date: dt.date,
    events: int = 10_000,
    sources: Sequence[str] = tuple(FORMATS),
    seed: int = 1,
    faults: float = 0.03,
    workers: int | None = None,
) -> Truth:
    """Write about `events` records that land on a date, of all these sources together; gives the expected result of that night.

    This replaces the `date=` partitions of the date and the sources, and writes `_truth/<date>.json`. The same arguments give the same
    bytes, with any other nights and any number of workers (by default one per core). `faults` is the share of records that are late,
    repeated or bad. Raises ValueError for a source that is not known.
    """
    unknown = sorted(set(sources) - set(FORMATS))
    if unknown:
        raise ValueError(f"no such source: {', '.join(unknown)}; there are {', '.join(FORMATS)}")
    weights = sum(FORMATS[name].weight for name in set(sources))
    chosen = {name: Parameters(seed, round(events * FORMATS[name].weight / weights), faults) for name in FORMATS if name in sources}
    truths: dict[str, SourceTruth] = {}
    with _runner(events, workers or os.cpu_count() or 1) as run:
        for name, parameters in chosen.items():
            truths[name] = _generate_source(landing, date, FORMATS[name], parameters, run)
    return _write_truth(landing, date, chosen, truths)


def truth(nights: Path | Mapping[dt.date, Mapping[str, Parameters]], first: dt.date, last: dt.date) -> Truth:
    """The truth about a lake into which just the nights from first to last have landed.

    `nights` is a landing zone, of which the parameters of each night are read, or per date and source these parameters.
    """
    by_date = _parameters(nights, first, last) if isinstance(nights, Path) else nights
    by_source: dict[str, dict[dt.date, Parameters]] = {}
    for date, chosen in by_date.items():
        if first <= date <= last:
            for name, parameters in chosen.items():
                by_source.setdefault(name, {})[date] = parameters
    sources = {name: replayed(FORMATS[name], by_source[name]) for name in FORMATS if name in by_source}
    return Truth(first, last, total_truth(sources.values()), sources)


Run = Callable[..., None]


@contextmanager
def _runner(events: int, workers: int) -> Iterator[Run]:
    """A way to run functions, in other processes where that is worth it; at the end all of them have been run."""
    if workers == 1 or events < _WORTH_A_POOL:
        yield lambda function, *arguments: function(*arguments)
        return
    # Not forked: the caller may have threads, of Spark or of Arrow.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        running: list[Future[None]] = []
        yield lambda function, *arguments: running.append(pool.submit(function, *arguments))
        for future in running:
            future.result()


def _generate_source(landing: Path, date: dt.date, source: Format, parameters: Parameters, run: Run) -> SourceTruth:
    """Have the source's partitions of the date written anew; its truth for the night."""
    folder = landing / source.name / f"date={date}"
    if folder.exists():
        shutil.rmtree(folder)
    day = day_number(date)
    rows = arrivals(source, parameters, day)
    files = landed_files(rows, seed_bits(source, parameters), day)
    for hour in sorted({file.hour for file in files}):
        of_hour = rows.take(slice(*rows.hour.searchsorted([hour, hour + 1]).tolist()))
        run(_write_hour, folder / f"hour={hour:02}", source.name, of_hour, [file for file in files if file.hour == hour])
    return source_truth(source, [rows], files)


def _write_hour(partition: Path, name: str, rows: GeneratedRows, files: Sequence[GeneratedFile]) -> None:
    # By name: a Format holds functions, and those do not travel to other processes.
    write(partition, FORMATS[name], rows, files)


def _write_truth(landing: Path, date: dt.date, chosen: Mapping[str, Parameters], truths: Mapping[str, SourceTruth]) -> Truth:
    """Write the truth of a night down; sources of the night that were generated before, and not now, visit in it."""
    file = _truth_file(landing, date)
    before: dict[str, Any] = orjson.loads(file.read_bytes()) if file.exists() else {"parameters": {}, "sources": {}}
    kept = {name: source_truth_from_json(part) for name, part in before["sources"].items() if name not in chosen}
    parameters = {name: part for name, part in before["parameters"].items() if name not in chosen}
    parameters |= {name: dataclasses.asdict(part) for name, part in chosen.items()}
    sources = {name: part for name, part in {**kept, **truths}.items() if name in FORMATS}
    night = Truth(date, date, total_truth(sources.values()), {name: sources[name] for name in FORMATS if name in sources})
    file.parent.mkdir(parents=True, exist_ok=True)
    document = {"parameters": parameters, **night.as_json()}
    file.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n")
    return night


def _parameters(landing: Path, first: dt.date, last: dt.date) -> dict[dt.date, dict[str, Parameters]]:
    """The parameters of the nights that have been generated into a landing zone."""
    found = {}
    for days in range((last - first).days + 1):
        date = first + dt.timedelta(days)
        file = _truth_file(landing, date)
        if file.exists():
            parameters = orjson.loads(file.read_bytes())["parameters"]
            found[date] = {name: Parameters(**part) for name, part in parameters.items()}
    return found


def _truth_file(landing: Path, date: dt.date) -> Path:
    return landing / TRUTH_FOLDER / f"{date}.json"
