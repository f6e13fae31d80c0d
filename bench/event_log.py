"""The stages of a night, from the event log of Spark: how long their tasks took, how even they were, and what they moved.

    python -m bench.event_log FOLDER

FOLDER is that of `spark.eventLog.dir`, or of one application below it. Prints a Markdown table per application.
"""

from __future__ import annotations

import io
import json
import statistics
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import pyarrow as pa

_MIB = 2**20


@dataclass
class Stage:
    """The tasks of a stage: all attempts that succeeded."""

    step: str  # of the night
    seconds: list[float] = field(default_factory=list)  # of each task, from launch to finish
    read: int = 0  # bytes from shuffles
    written: int = 0  # bytes into shuffles
    spilled: int = 0  # bytes to disk
    peak_memory: int = 0  # bytes of the JVM's execution memory, in the largest task

    @property
    def skew(self) -> float:
        """The longest task, as a multiple of the median."""
        return max(self.seconds) / max(statistics.median(self.seconds), 0.001)

    def add(self, event: dict[str, Any]) -> None:
        """Take in a task that has ended."""
        task, metrics = event["Task Info"], event["Task Metrics"]
        self.seconds.append((task["Finish Time"] - task["Launch Time"]) / 1000)
        read = metrics["Shuffle Read Metrics"]
        self.read += read["Remote Bytes Read"] + read["Local Bytes Read"]
        self.written += metrics["Shuffle Write Metrics"]["Shuffle Bytes Written"]
        self.spilled += metrics["Disk Bytes Spilled"]
        self.peak_memory = max(self.peak_memory, metrics["Peak Execution Memory"])


def stages(application: Path) -> list[Stage]:
    """The stages of an application that ran tasks, in the order in which they were submitted."""
    found: dict[int, Stage] = {}
    for event in _events(application):
        if event["Event"] == "SparkListenerStageSubmitted":
            step = (event.get("Properties") or {}).get("spark.job.description", "")
            found.setdefault(event["Stage Info"]["Stage ID"], Stage(step))
        elif event["Event"] == "SparkListenerTaskEnd" and event["Task End Reason"]["Reason"] == "Success":
            found[event["Stage ID"]].add(event)
    return [stage for stage in found.values() if stage.seconds]


def applications(folder: Path) -> list[Path]:
    """The event logs in a folder, the oldest first: a file, or with rolling logs a folder of files, per application."""
    return sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=lambda path: path.stat().st_mtime)


def table_of_stages(application: Path) -> str:
    """A Markdown table of the stages of an application."""
    rows = [
        "| step | tasks | median s | longest s | skew | total s | shuffle read MiB | written MiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for stage in stages(application):
        median, longest, total = statistics.median(stage.seconds), max(stage.seconds), sum(stage.seconds)
        numbers = f"{len(stage.seconds)} | {median:.2f} | {longest:.2f} | {stage.skew:.1f} | {total:.1f}"
        rows.append(f"| {stage.step} | {numbers} | {stage.read / _MIB:.1f} | {stage.written / _MIB:.1f} |")
    return "\n".join(rows)


def seconds_of_tasks(application: Path) -> dict[str, float]:
    """The seconds of all tasks of each step of the night."""
    seconds: dict[str, float] = defaultdict(float)
    for stage in stages(application):
        seconds[stage.step] += sum(stage.seconds)
    return dict(seconds)


def _events(application: Path) -> Iterator[dict[str, Any]]:
    files = [application] if application.is_file() else sorted(application.glob("events_*"), key=_number_of)
    for file in files:
        with pa.input_stream(str(file), compression="zstd" if file.suffix == ".zstd" else None) as stream:
            yield from map(json.loads, io.TextIOWrapper(stream, encoding="utf-8"))


def _number_of(file: Path) -> int:
    """The number of a rolling log file: events_<number>_<application>."""
    return int(file.name.split("_")[1])


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Print the stages of every application in a folder."""
    for application in [folder] if list(folder.glob("events_*")) else applications(folder):
        click.echo(f"{application.name}\n\n{table_of_stages(application)}\n")


if __name__ == "__main__":
    main()
