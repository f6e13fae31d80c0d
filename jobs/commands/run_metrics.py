"""Metrics of the last runs, in the text format of Prometheus.

millrace metrics --lake lake --out /var/lib/node_exporter/millrace.prom
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from jobs.changed_partitions import NIGHT_DONE
from jobs.console import paths
from jobs.console.printing import print_text
from jobs.errors import UsageError
from jobs.lake.half_published import open_to_read
from jobs.lake.tables import Lake
from jobs.settings import Settings
from schemas.bookkeeping import FILES, QUALITY_RESULTS, RUNS

# Per column of `runs` the name and the help of its metric.
_OF_STEPS = {
    "seconds": ("millrace_step_seconds", "Duration of a step of that run"),
    "rows_in": ("millrace_step_rows_in", "Rows that the step read"),
    "rows_out": ("millrace_step_rows_out", "Rows that the step wrote into its tables"),
    "bytes": ("millrace_step_bytes", "Bytes of the landed files or of the Parquet files that the step wrote"),
    "peak_memory": ("millrace_step_peak_memory_bytes", "Largest anonymous memory of all processes in the step"),
}


@dataclass(frozen=True)
class Metric:
    """A gauge: its samples have the values of its labels, and a number."""

    name: str
    help: str
    samples: Sequence[tuple[Mapping[str, str], float]]


def show(settings: Settings, out: Path | None) -> int:
    """Print the metrics of the lake's last runs, or write them into a file that readers see as a whole.

    Raises LakeError when there is no lake, UsageError when the file cannot be written.
    """
    text = exposition(metrics(open_to_read(settings.paths.lake)))
    if out is None:
        print_text(text)
        return 0
    unfinished = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(out)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise UsageError(f"{paths.shown(out)} cannot be written ({os.strerror(error.errno or 0)}): name another file with --out") from None
    return 0


def metrics(lake: Lake) -> Iterator[Metric]:
    """The metrics of the last run of each command, and of the last night."""
    rows = lake.arrow(RUNS.name).to_pylist()
    last = {row["command"]: row["run_id"] for row in sorted(rows, key=lambda row: row["started"]) if row["step"] == NIGHT_DONE}
    of_last = [row for row in rows if last.get(row["command"]) == row["run_id"]]
    published = [row for row in of_last if row["step"] == NIGHT_DONE]
    first = {row["run_id"]: min(one["started"] for one in of_last if one["run_id"] == row["run_id"]) for row in published}
    yield Metric(
        "millrace_last_run_timestamp_seconds",
        "When a run of the command last published, or failed a critical check, as Unix time",
        [({"command": row["command"]}, row["ended"].timestamp()) for row in published],
    )
    yield Metric(
        "millrace_last_run_duration_seconds",
        "Seconds from the start of that run to when it published or failed",
        [({"command": row["command"]}, (row["ended"] - first[row["run_id"]]).total_seconds()) for row in published],
    )
    yield Metric(
        "millrace_last_run_failed",
        "1 if a critical check of that run failed and nothing was published",
        [({"command": row["command"]}, float(row["status"] == "failed")) for row in published],
    )
    for column, (name, help) in _OF_STEPS.items():
        samples = [({"command": row["command"], "step": row["step"]}, row[column]) for row in of_last if row.get(column) is not None]
        yield Metric(name, help, samples)
    yield Metric("millrace_lake_state", "Number of the published state of the lake", [({}, float(lake.state))])
    yield from _of_last_night(lake, rows)


def _of_last_night(lake: Lake, runs: Iterable[Mapping[str, Any]]) -> Iterator[Metric]:
    """What landed on the last night that was run, and its failed checks."""
    done = [row for row in runs if row["step"] == NIGHT_DONE and row["night"] is not None]
    if not done:
        return
    last = max(done, key=lambda row: (row["night"], row["started"]))
    midnight = dt.datetime.combine(last["night"], dt.time(), dt.UTC)
    yield Metric("millrace_last_night_timestamp_seconds", "Date of the last night that was run, as Unix time", [({}, midnight.timestamp())])
    results = lake.arrow(QUALITY_RESULTS.name, ["severity", "passed"], pc.field("run_id") == last["run_id"]).to_pylist()
    failed = {severity: sum(not row["passed"] for row in results if row["severity"] == severity) for severity in ("critical", "warning")}
    yield Metric(
        "millrace_failed_checks",
        "Checks of the last night that failed",
        [({"severity": name}, float(count)) for name, count in failed.items()],
    )
    landed = lake.arrow(FILES.name, where=pc.field("landing_date") == last["night"]).to_pylist()
    counts: dict[tuple[str, str], int] = {}
    for row in landed:
        for kind in ("accepted", "duplicates", "rejected", "erased"):
            counts[row["source"], kind] = counts.get((row["source"], kind), 0) + (row.get(kind) or 0)
    yield Metric(
        "millrace_landed_records",
        "Records of the last night by what became of them",
        [({"source": source, "outcome": kind}, float(count)) for (source, kind), count in sorted(counts.items())],
    )
    unreadable = {source: sum(row["status"] == "unreadable" for row in landed if row["source"] == source) for source, _ in counts}
    yield Metric(
        "millrace_unreadable_files",
        "Landed files of the last night that cannot be read",
        [({"source": source}, float(count)) for source, count in sorted(unreadable.items())],
    )


def exposition(all_metrics: Iterable[Metric]) -> str:
    """Metrics in the text format of Prometheus. A metric without samples is left out."""
    lines: list[str] = []
    for metric in all_metrics:
        if metric.samples:
            lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} gauge"]
            lines += [f"{metric.name}{_labels(labels)} {float(value)!r}" for labels, value in metric.samples]
    return "".join(f"{line}\n" for line in lines)


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
