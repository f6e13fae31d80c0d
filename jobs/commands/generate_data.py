"""Land generated data, or print the expected result of its nights.

millrace generate --landing landing --date 2026-11-20
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

from jobs.console.printing import print_json, print_table
from jobs.console.progress import Progress
from jobs.errors import LandingError, UsageError
from jobs.generator.formats import FORMATS
from jobs.generator.generate import TRUTH_FOLDER, generate, truth
from jobs.generator.truth import Truth
from jobs.landing.zone import check_usable, landed
from jobs.storage.storage_paths import StoragePath


def write(landing: Path, date: dt.date, events: int, sources: Sequence[str], seed: int, faults: float) -> int:
    """Land the generated files of a date, and print how many records they have.

    Raises UsageError for an unknown source, LandingError when the folder cannot be written or holds landed data of that date.
    """
    unknown = [source for source in sources if source not in FORMATS]
    if unknown:
        raise UsageError(f"no source is called {unknown[0]!r}: --source takes {', '.join(sorted(FORMATS))}")
    refuse_landed(landing, date, sources or tuple(FORMATS))
    replaced = ", in place of what was generated for it before" if _truth_file(landing, date).exists() else ""
    progress = Progress()
    progress.begin(date.isoformat())
    try:
        with progress.step("generate"):
            made = generate(landing, date, events, sources or tuple(FORMATS), seed, faults)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise LandingError(f"cannot land files in {landing} ({error.strerror}): name a folder that can be written with --landing") from None
    show(f"Landed in {landing} on {date}{replaced}", made)
    return 0


def folder_to_write(landing: StoragePath) -> Path:
    """The landing zone as a folder into which files are generated. Raises LandingError if it is in a bucket."""
    if not isinstance(landing, Path):
        raise LandingError(
            f"files are generated into a folder, and {landing} is in a bucket: generate into a folder (--landing DIR), then upload it"
        )
    return landing


def refuse_landed(landing: Path, date: dt.date, sources: Sequence[str]) -> None:
    """Raises LandingError when what would be replaced was not generated: landed data is nobody's to throw away."""
    check_usable(landing)
    if _truth_file(landing, date).exists():
        return
    for source in sources:
        if landed(landing, source, date):
            raise LandingError(f"{landing} holds data of {source} that landed on {date}: name another folder with --landing")


def _truth_file(landing: Path, date: dt.date) -> Path:
    """The file that says what was generated for a date."""
    return landing / TRUTH_FOLDER / f"{date}.json"


def show_truth(landing: Path, first: dt.date, last: dt.date) -> int:
    """Print, as JSON, what a lake must hold into which just these nights have landed."""
    made = truth(landing, first, last)
    if not made.sources:
        raise LandingError(
            f"no night from {first} to {last} was generated into {landing}:"
            f" `millrace generate --landing {landing} --date {first}` makes one"
        )
    print_json(made.as_json())
    return 0


def show(title: str, made: Truth) -> None:
    """Print what was landed, per source."""
    rows = [
        [name, part.files, part.records, part.accepted, part.duplicates, part.rejected, part.sessions.sessions]
        for name, part in sorted(made.sources.items())
    ]
    print_table(title, ["source", "files", "records", "events", "repeated", "bad", "sessions"], rows, total=True)
