"""The tables as a run will publish them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from jobs.lake.table_changes import Change
from jobs.lake.tables import Lake

Dates = dict[str, set[dt.date]]  # per source


@dataclass(frozen=True)
class NewState:
    """The tables as the run will publish them: the lake's files without the removed ones, and the files that the run adds."""

    lake: Lake
    changes: Mapping[str, Change]
