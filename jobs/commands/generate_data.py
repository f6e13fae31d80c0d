"""Land generated data, or print the expected result of its nights.

millrace generate --landing landing --date 2026-11-20
millrace generate --landing landing --from 2026-10-24 --to 2026-11-20 --events 600
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


def write(
    landing: Path, first: dt.date, events: int, sources: Sequence[str], seed: int, faults: float, *, last: dt.date | None = None
) -> int:
    """Land the generated files of a date, or of all dates up to the last one, and print how many records they have.

    Raises UsageError for an unknown source or a range without dates, LandingError when the folder cannot be written or holds landed data
    of these dates.
    """
    unknown = [source for source in sources if source not in FORMATS]
    if unknown:
        raise UsageError(f"no source is called {unknown[0]!r}: --source takes {', '.join(sorted(FORMATS))}")
    last = last or first
    if last < first:
        raise UsageError(f"{last} is before {first}: --from is the first night, --to the last")
    dates = [first + dt.timedelta(days) for days in range((last - first).days + 1)]
    for date in dates:
        refuse_landed(landing, date, sources or tuple(FORMATS))
    replaced = ", in place of what was generated before" if any(_truth_file(landing, date).exists() for date in dates) else ""
    when = f"on {first}" if first == last else f"from {first} to {last}"
    progress = Progress()
    progress.begin(when.removeprefix("on "))
    try:
        with progress.step("generate"):
            made = [generate(landing, date, events, sources or tuple(FORMATS), seed, faults) for date in dates]
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise LandingError(f"cannot land files in {landing} ({error.strerror}): name a folder that can be written with --landing") from None
    show(f"Landed in {landing} {when}{replaced}", made[0] if len(made) == 1 else truth(landing, first, last))
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
