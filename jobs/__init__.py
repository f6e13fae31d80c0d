"""What runs: the night and its steps, the other jobs, the command line; and for notebooks `open_lake`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from os import PathLike

    from jobs.lake_reader import LakeReader

__all__ = ["open_lake"]


def open_lake(lake: str | PathLike[str]) -> LakeReader:
    """Open a lake to read its tables with pandas, Polars, DuckDB, Arrow or Spark, all at one recorded state.

    `lake` is a folder or an `s3://` URL. Nothing is started and nothing is read but the logs of the tables. See `LakeReader`.

        from jobs import open_lake

        lake = open_lake("lake")
        lake.sessions.to_pandas(columns=["source", "session_duration"], where="session_date >= '2026-11-18'")

    Raises LakeError when there is no lake at this path, LakeDamagedError when a part of it is missing or unreadable.
    """
    # The module takes a second to import.
    from jobs import lake_reader

    return lake_reader.open_lake(lake)
