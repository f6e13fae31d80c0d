"""Stop a run when a folder of the landing zone cannot be listed and the lake has records of files in it.

A part of the step `survey`: millrace run --date 2026-11-20
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pyarrow.compute as pc

from jobs.errors import LandingError
from jobs.lake.tables import Lake
from jobs.landing.zone import LandedFile
from schemas.bookkeeping import FILES


def check(lake: Lake, files: Sequence[LandedFile]) -> None:
    """Raises LandingError when one of these entries is a folder that cannot be listed, and the lake has records of files in it.

    The files may still be there. To read the partition without them would drop their rows.
    """
    folders = {file.file: file for file in files if file.is_unlisted}
    if not folders:
        return
    where = pc.field("landing_date").isin(sorted({folder.partition.landing_date for folder in folders.values()}))
    records: Counter[str] = Counter()
    for row in lake.arrow(FILES.name, ["file", "records"], where).to_pylist():
        for folder in folders:
            if row["file"].startswith(f"{folder}/"):
                records[folder] += row["records"] or 0
    hidden = sorted(folder for folder, count in records.items() if count)
    if hidden:
        more = f" (nor can {len(hidden) - 1} more)" if len(hidden) > 1 else ""
        raise LandingError(
            f"the folder {hidden[0]} cannot be listed ({folders[hidden[0]].fault}){more}, and the lake has {records.total():,} records"
            " of files in it, which would be dropped: let this user read it, then call again"
        )
