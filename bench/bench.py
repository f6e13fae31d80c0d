"""The cost of a night, compared with other programs over the same generated files.

    python -m bench.bench [--events N]… [--runs N] [--engine NAME]… [--folder DIR]

Every run is a night of each engine and the DuckDB peer between the two; a ratio is the median over the runs of the night's
seconds / the peer's. Whole processes are measured, from files that are in memory. What both made is compared after the
first run, and a difference ends the benchmark. Writes bench/results.json, in which a size that was not run stays as it was,
and the chart docs/performance.svg.
"""

from __future__ import annotations

import bz2
import datetime as dt
import gzip
import json
import math
import os
import re
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from bench.chart import draw
from bench.compare import differences
from bench.measured import Measured, measure
from jobs.lake.tables import Lake

ROOT = Path(__file__).parents[1]
MILLRACE = str(Path(sys.executable).with_name("millrace"))
NIGHT = dt.date(2026, 11, 20)
# The environment of each engine.
ENGINES: Mapping[str, str] = {"spark": "spark", "sail": "local"}
PEER, PARSER = "duckdb", "polars"
# The steps of a night and of the peer, as results name them.
START, PARSE, WRITE, PUBLISH = "start", "parse and validate", "write", "publish"
STEPS = {"ingest": PARSE, "account": WRITE}
_SESSION_STARTED = re.compile(r"start (?:Spark|Sail) +([0-9.]+) s")
# Its row in the journal is part of what it publishes, so it does not know its end.
_PUBLISHED = re.compile(r"publish +([0-9.]+) s")
_MIB = 2**20

Entry = dict[str, Any]


@click.command()
@click.option(
    "--events", "sizes", type=int, multiple=True, default=(200_000, 1_000_000, 5_000_000), show_default=True, help="Records landed."
)
@click.option(
    "--runs", type=click.IntRange(min=1), default=3, show_default=True, help="Nights of each engine. Each is followed by a run of the peer."
)
@click.option("--engine", "engines", type=click.Choice(sorted(ENGINES)), multiple=True, default=tuple(ENGINES), help="What runs the night.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where files and lakes go, and the files stay. [default: a temporary one]")
@click.option("--results", type=click.Path(path_type=Path), default=ROOT / "bench" / "results.json", help="The numbers, as JSON.")
@click.option("--chart", type=click.Path(path_type=Path), default=ROOT / "docs" / "performance.svg", help="The same, drawn.")
def main(sizes: Sequence[int], runs: int, engines: Sequence[str], folder: Path | None, results: Path, chart: Path) -> None:
    """Measure nights of these sizes."""
    measured: list[Entry] = json.loads(results.read_text()) if results.exists() else []
    with _folder(folder) as place:
        for events in sizes:
            for entries in _measure_size(place, events, runs, engines):
                measured = [
                    old for old in measured if (old["engine"], old["events"]) not in {(new["engine"], new["events"]) for new in entries}
                ]
                measured = sorted([*measured, *entries], key=lambda entry: (entry["events"], entry["engine"]))
                add_growth(measured)
                results.write_text(json.dumps(measured, indent=2) + "\n")
    draw(measured, chart)
    print("\n".join(as_table(measured)))


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    else:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.resolve()


def _measure_size(folder: Path, events: int, runs: int, engines: Sequence[str]) -> Iterator[list[Entry]]:
    """The entries of a size, after every run of all runs so far: one per engine, of the peer, and of Polars."""
    landing = folder / f"landing-{events}"
    if not landing.exists():
        measure([MILLRACE, "generate", "--landing", str(landing), "--date", str(NIGHT), "--events", str(events)])
    sizes = _warm(landing)
    nights: dict[str, list[Entry]] = {engine: [] for engine in engines}
    peers: list[Entry] = []
    parsers: list[Entry] = []
    out = folder / "peer"
    lakes = {engine: folder / f"lake-{engine}" for engine in engines}
    for run in range(runs):
        for number, (engine, lake) in enumerate(lakes.items()):
            nights[engine].append(_night(engine, landing, lake))
            if number == 0:
                peers.append(_peer(landing, out))
            if run == 0:
                _agree(lake, out)
            shutil.rmtree(lake)
        shutil.rmtree(out)
        took = ", ".join(f"{name} {made[-1]['seconds']:.1f} s" for name, made in (nights | {PEER: peers}).items())
        _tell(f"{events:,} events, run {run + 1}: {took}")
        # It parses and does nothing else: once is enough.
        if run == 0:
            parsers.append(_parser(landing))
        yield _entries(events, sizes, nights, peers, parsers)


def _entries(
    events: int, sizes: Mapping[str, float], nights: Mapping[str, Sequence[Entry]], peers: Sequence[Entry], parsers: Sequence[Entry]
) -> list[Entry]:
    records = dict(sizes) | {"events": events, "cores": os.cpu_count()}
    entries = [_entry(engine, nights[engine], _ratios(nights[engine], peers)) | records for engine in nights]
    entries.append(_entry(PEER, peers, {"ratio_to_duckdb": 1.0}) | records)
    if parsers:
        ratio = parsers[0]["seconds"] / peers[0]["steps"][PARSE]
        entries.append(_entry(PARSER, parsers, {"ratio_to_duckdb": round(ratio, 2)}) | records)
    for entry in entries:
        entry["rows_per_second"] = round(events / entry["seconds"])
        entry["mib_per_second"] = round(sizes["unpacked_mib"] / entry["seconds"], 1)
    return entries


def _warm(landing: Path) -> dict[str, float]:
    """Read the landed files once, so that they are in memory; how much they are, as they landed and unpacked."""
    landed = unpacked = 0
    for path in landing.glob("*/date=*/**/*"):
        if path.is_file():
            content = path.read_bytes()
            landed += len(content)
            unpacked += len({".gz": gzip.decompress, ".bz2": bz2.decompress}.get(path.suffix, bytes)(content))
    return {"landed_mib": round(landed / _MIB, 1), "unpacked_mib": round(unpacked / _MIB, 1)}


# What is measured


def _night(engine: str, landing: Path, lake: Path) -> Entry:
    paths = ["--date", str(NIGHT), "--landing", str(landing), "--lake", str(lake)]
    cost = measure([MILLRACE, "run", *paths, "--env", ENGINES[engine]])
    journal = [row for row in Lake.open(lake).arrow("runs").to_pylist() if row["night"] == NIGHT]
    first = min(row["started"] for row in journal).timestamp()
    # The first step that needs the session starts it.
    session_started = sum(map(float, _SESSION_STARTED.findall(cost.errors)))
    steps = {START: first - cost.started + session_started, PARSE: -session_started}
    for row in sorted(journal, key=lambda row: row["started"]):
        name = STEPS.get(row["step"], row["step"])
        steps[name] = steps.get(name, 0.0) + (row["ended"] - row["started"]).total_seconds()
    steps[PUBLISH] = sum(map(float, _PUBLISHED.findall(cost.errors)))
    return _cost(cost, steps | {"end": cost.seconds - sum(steps.values())})


def _peer(landing: Path, out: Path) -> Entry:
    cost = measure([sys.executable, "-m", "bench.duckdb_peer", str(landing), str(out)], {"PYTHONPATH": _search_path()})
    steps: dict[str, float] = {START: 0.0}
    for step, seconds in json.loads(cost.output).items():
        name = STEPS.get(step, step)
        steps[name] = steps.get(name, 0.0) + seconds
    # Python, its modules, and its end.
    steps[START] += cost.seconds - sum(steps.values())
    return _cost(cost, steps)


def _parser(landing: Path) -> Entry:
    cost = measure([sys.executable, "-m", "bench.polars_parse", str(landing)], {"PYTHONPATH": _search_path()})
    # Polars does this one step: its start is no part of it.
    seconds = json.loads(cost.output)[PARSE]
    return _cost(cost, {PARSE: seconds}) | {"seconds": seconds}


def _search_path() -> str:
    """The module search path of a process that finds this package."""
    return os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


def _cost(cost: Measured, steps: Mapping[str, float]) -> Entry:
    return {
        "seconds": round(cost.seconds, 2),
        "cpu_seconds": round(cost.cpu_seconds, 1),
        "steps": {name: round(seconds, 2) for name, seconds in steps.items()},
        "peak_mib": round(cost.peak_mib),
        "read_mib": round(cost.read_mib, 1),
        "written_mib": round(cost.written_mib, 1),
    }


def _agree(lake: Path, out: Path) -> None:
    """Stop where the night and the peer did not make the same."""
    different = differences(lake, out)
    for difference in different:
        _tell(f"differs: {difference}")
    if different:
        raise click.ClickException(
            f"the lake and the peer differ in {len(different)} ways: the times of work that is not the same say nothing"
        )


# Output


def _entry(engine: str, runs: Sequence[Entry], ratios: Mapping[str, float]) -> Entry:
    """The run of median length is shown, so that its steps add up to its seconds."""
    middle = sorted(runs, key=lambda run: run["seconds"])[(len(runs) - 1) // 2]
    return {"engine": engine} | middle | dict(ratios) | {"runs": [run["seconds"] for run in runs]}


def _ratios(nights: Sequence[Entry], peers: Sequence[Entry]) -> dict[str, float]:
    """The median of the paired ratios: as a whole, and without workflows, which the peer leaves to our Python."""
    pairs = list(zip(nights, peers, strict=True))
    return {
        "ratio_to_duckdb": round(statistics.median(night["seconds"] / peer["seconds"] for night, peer in pairs), 2),
        "ratio_without_workflows": round(statistics.median(_rest(night) / _rest(peer) for night, peer in pairs), 2),
    }


def _rest(run: Entry) -> float:
    return float(run["seconds"] - run["steps"].get("workflows", 0.0))


def add_growth(entries: Sequence[Entry]) -> None:
    """Give each entry of the largest night the exponent by which time grows from a night a fifth as large, the start taken off."""
    by_size = {(entry["engine"], entry["events"]): entry for entry in entries}
    for (engine, events), entry in by_size.items():
        smaller = by_size.get((engine, events // 5))
        entry["growth_exponent"] = None
        if smaller is not None:
            spent = [part["seconds"] - part["steps"].get(START, 0.0) for part in (smaller, entry)]
            entry["growth_exponent"] = round(math.log(spent[1] / spent[0], 5), 2)


def as_table(entries: Sequence[Entry]) -> list[str]:
    """The lines of a Markdown table: a column per engine and size, a row per number."""
    steps = list(dict.fromkeys(step for entry in entries for step in entry["steps"]))
    rows: dict[str, list[str]] = {
        "": [f"{entry['engine']} {entry['events']:,}" for entry in entries],
        "---": ["---:"] * len(entries),
        "whole process, s": [f"**{entry['seconds']:.1f}**" for entry in entries],
        "ratio to DuckDB": [f"{entry['ratio_to_duckdb']:.2f}" for entry in entries],
        "… without workflows": [
            f"{entry['ratio_without_workflows']:.2f}" if "ratio_without_workflows" in entry else "" for entry in entries
        ],
        "growth exponent from a fifth": [
            "" if entry["growth_exponent"] is None else f"{entry['growth_exponent']:.2f}" for entry in entries
        ],
        **{step: [f"{entry['steps'][step]:.1f}" if step in entry["steps"] else "" for entry in entries] for step in steps},
        "rows/s": [f"{entry['rows_per_second']:,}" for entry in entries],
        "MiB/s of JSON": [f"{entry['mib_per_second']:.1f}" for entry in entries],
        "peak memory, MiB": [f"{entry['peak_mib']:,}" for entry in entries],
        "read, MiB": [f"{entry['read_mib']:,.0f}" for entry in entries],
        "written, MiB": [f"{entry['written_mib']:,.0f}" for entry in entries],
        "all cores, s": [f"{entry['cpu_seconds']:.1f}" for entry in entries],
    }
    return ["| " + " | ".join([name, *cells]) + " |" for name, cells in rows.items()]


def _tell(line: str) -> None:
    click.echo(line, err=True)


if __name__ == "__main__":
    main()
