"""Parquet files that the engine reads and writes, whatever characters their paths hold."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

_HADOOP_PATTERN = re.compile(r"[\\{}\[\]*?]")


def read_parquet(spark: SparkSession, schema: StructType, paths: Sequence[Path], *, on_sail: bool) -> DataFrame:
    """The rows of these Parquet files, whatever characters their paths hold."""
    from pyspark.sql import DataFrame

    reader = spark.read.schema(schema)
    if on_sail:
        return reader.parquet(*map(_for_sail, paths))
    if any(":" in str(path) and _HADOOP_PATTERN.search(str(path)) for path in paths):
        # Hadoop cannot match a pattern below a folder with a colon. Without patterns, Spark reads every file once for each path.
        whole = reader.option("__globPaths__", "false")
        return reduce(DataFrame.unionAll, (whole.parquet(str(_absolute(path))) for path in paths))
    return reader.parquet(*(_HADOOP_PATTERN.sub(r"\\\g<0>", str(_absolute(path))) for path in paths))


def write_parquet(
    frame: DataFrame, folder: Path, *, on_sail: bool, partitioned_by: str | None = None, rows_of_a_group: int | None = None
) -> None:
    """Write a frame as Parquet files into a folder, whatever characters its path holds; what was there before is removed.

    With `partitioned_by`, the rows of each value of this column are in a folder of their own. On Sail, `rows_of_a_group` is the size of
    a row group, which a writer has in memory. The files are read once, so they are compressed quickly rather than well.
    """
    # Spark takes a path that it writes to as it stands.
    target = _for_sail(folder) if on_sail else str(_absolute(folder))
    writer = frame.write.mode("overwrite").option("compression", "snappy")
    if on_sail and rows_of_a_group is not None:
        writer = writer.option("max_row_group_size", rows_of_a_group)
    (writer.partitionBy(partitioned_by) if partitioned_by else writer).parquet(target)


def _for_sail(path: Path) -> str:
    """A URL: Sail takes a plain path with pattern characters for a pattern, and finds nothing, without an error."""
    return "file://" + quote(str(_absolute(path)))


def _absolute(path: Path) -> Path:
    # Both engines would take `..` away by the text alone, which is wrong behind a symbolic link.
    return Path(os.path.realpath(path)) if ".." in path.parts else path.absolute()
