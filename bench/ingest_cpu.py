"""The processor time that reading landed files into a stage takes, per source, in one process.

millrace generate --landing DIR --date 2026-11-20 --events 200000
python -m bench.ingest_cpu DIR --date 2026-11-20
"""

from __future__ import annotations

import datetime as dt
import tempfile
import time
from pathlib import Path

import click

from jobs import ingest, settings
from jobs.landing import zone
from jobs.rules import privacy_rules, time_rules
from transforms.sources.registry import SOURCES


@click.command()
@click.argument("landing", type=click.Path(path_type=Path, exists=True))
@click.option("--date", type=click.DateTime(["%Y-%m-%d"]), required=True)
def main(landing: Path, date: dt.datetime) -> None:
    """Print the seconds of each source and of all."""
    given = settings.load()
    times = {source: time_rules(given, source) for source in SOURCES}
    rules = ingest.ReadRules(times, given.ingest.max_document_bytes, given.ingest.chunk_lines, privacy_rules(given))
    total = 0.0
    for source in sorted(SOURCES):
        files = zone.landed(landing, source, date.date())
        with tempfile.TemporaryDirectory() as stage:
            start = time.process_time()
            ingest.read_into_stage(landing, list(enumerate(files)), Path(stage), rules)
            seconds = time.process_time() - start
        total += seconds
        print(f"{source:16} {seconds:6.2f} s")
    print(f"{'all':16} {total:6.2f} s")


if __name__ == "__main__":
    main()
