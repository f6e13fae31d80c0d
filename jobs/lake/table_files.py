"""Write the Parquet files of a table, on the driver or in a task, and describe them for the Delta log.

Each file gets a unique name in the folder of its table. The driver publishes only files whose description it received, so a file of
a lost or repeated task is never published.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.lake.run_output import RunOutput
from jobs.storage import storage_paths
from jobs.storage.parquet_files import write_parquet
from schemas.table import BINARY, Column, Table

# A task sends these columns to the driver, one row per file.
WRITTEN = pa.schema(
    [
        ("table", pa.string()),
        ("path", pa.string()),
        ("partition", pa.string()),
        ("size", pa.int64()),
        ("rows", pa.int64()),
        ("stats", pa.string()),
    ]
)
ROW_GROUP_ROWS = 131_072
# The text for null in partition values and in paths.
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
# The bounds of a text keep its first characters: this many.
TEXT_BOUND = 32
_LAST_CHARACTER = "\U0010ffff"


@dataclass(frozen=True)
class WrittenFile:
    """One Parquet file of a table, described for the Delta log."""

    table: str
    path: str  # from the table's folder
    partition: str  # partition values by column, canonical JSON
    size: int  # bytes
    rows: int
    stats: str  # its statistics, in the JSON of the Delta log

    @property
    def partition_values(self) -> dict[str, str]:
        """Partition values by column, as text."""
        values: dict[str, str] = json.loads(self.partition)
        return values


def write(table: Table, rows: pa.Table, partition: Mapping[str, str], output: RunOutput) -> WrittenFile:
    """Write rows of one partition as one Parquet file of a run, without the partition columns; gives its description."""
    target = output.new_file(table.name, "/".join(f"{name}={partition[name]}" for name in table.partitioned_by))
    storage_paths.make_folder(target.parent)
    names = [name for name in table.names if name not in table.partitioned_by]
    fields = pa.schema([pa.field(name, table[name].type) for name in names])
    bare = rows.select(names).cast(fields)
    impersonal = [field.name for field in fields if not pa.types.is_nested(field.type) and has_bounds(table[field.name])]
    size = write_parquet(
        bare,
        target,
        write_statistics=impersonal or False,
        compression="zstd",
        compression_level=1,
        row_group_size=ROW_GROUP_ROWS,
        use_dictionary=True,
        write_page_checksum=True,  # `verify --deep` finds bytes that have changed on the disk by it
    )
    return WrittenFile(
        table=table.name,
        path=storage_paths.relative(target, output.lake / table.name),
        partition=as_json(dict(partition)),
        size=size,
        rows=rows.num_rows,
        stats=as_json(_statistics(bare, hidden={name for name in names if not has_bounds(table[name])})),
    )


def has_bounds(column: Column) -> bool:
    """Whether statistics have the smallest and largest values of a column: not if it can hold text about a person."""
    return not column.is_personal and column.type != BINARY


def without_personal_bounds(table: Table, stats: Mapping[str, Any]) -> dict[str, Any]:
    """Statistics of a file in the JSON of the Delta log, without the bounds of personal columns."""
    hidden = {column.name for column in table.columns if not has_bounds(column)}
    lower = {name: "" if name in hidden else bound for name, bound in stats.get("minValues", {}).items()}
    upper = {
        name: _hiding(bound) if name in hidden and bound.strip(_LAST_CHARACTER) else bound
        for name, bound in stats.get("maxValues", {}).items()
    }
    return {**stats, "minValues": lower, "maxValues": upper}


def as_json(value: Mapping[str, Any]) -> str:
    """JSON for the Delta log. Characters are not escaped, because delta-rs decodes surrogate pairs of the even planes wrongly."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True)


def write_partitioned(table: Table, rows: pa.Table, output: RunOutput) -> list[WrittenFile]:
    """Write rows of a run as one file per partition, sorted by the table's order; gives their descriptions."""
    if rows.num_rows == 0:
        return []
    order = [*table.sorted_by, *(name for name in table.key if name not in table.sorted_by)]
    if order:
        rows = rows.sort_by([(name, "ascending") for name in order])
    if not table.partitioned_by:
        return [write(table, rows, {}, output)]
    labels = [pc.fill_null(rows[name].cast(pa.string()), NO_VALUE) for name in table.partitioned_by]
    label = pc.binary_join_element_wise(*labels, "\x1f")

    def write_partition(joined: str) -> WrittenFile:
        values = dict(zip(table.partitioned_by, joined.split("\x1f"), strict=True))
        return write(table, rows.filter(pc.equal(label, joined)), values, output)

    return storage_paths.each(output.lake, write_partition, sorted(pc.unique(label).to_pylist()))


def described(files: Iterable[WrittenFile]) -> Iterator[pa.RecordBatch]:
    """The descriptions as Arrow batches of the schema WRITTEN: at most one."""
    rows = [vars(file) for file in files]
    if rows:
        yield pa.RecordBatch.from_pylist(rows, schema=WRITTEN)


def from_descriptions(rows: pa.Table) -> list[WrittenFile]:
    """The files that these descriptions describe, in a fixed order."""
    return sorted((WrittenFile(**row) for row in rows.select(WRITTEN.names).to_pylist()), key=lambda file: (file.table, file.path))


def _statistics(rows: pa.Table, hidden: Collection[str]) -> dict[str, Any]:
    """The statistics by which a reader skips the file: per column its bounds and its number of nulls.

    A reader assumes that a column with a number of nulls has bounds too, so every column that can have bounds gets them: the hidden
    ones get bounds between which every text lies.
    """
    lower: dict[str, Any] = {}
    upper: dict[str, Any] = {}
    # Bounds in JSON are doubles, which a decimal may lie beyond.
    flat = [field.name for field in rows.schema if not pa.types.is_nested(field.type) and not pa.types.is_decimal(field.type)]
    for name in flat:
        if pa.types.is_binary(rows.schema.field(name).type):
            continue
        ends = pc.min_max(rows[name]).as_py()
        if ends["min"] is not None:
            lower[name], upper[name] = _json_bound(ends["min"], up=False), _json_bound(ends["max"], up=True)
            if name in hidden:
                lower[name], upper[name] = "", _hiding(ends["max"])
    nulls = {name: rows[name].null_count for name in flat}
    return {"numRecords": rows.num_rows, "minValues": lower, "maxValues": upper, "nullCount": nulls}


def _json_bound(value: Any, *, up: bool) -> Any:
    """A lower bound, or an upper one if `up`, as a JSON value of the Delta log: whole milliseconds, and text cut short.

    It is never tighter than the value.
    """
    if isinstance(value, dt.datetime):
        over = value.microsecond % 1000
        whole = value - dt.timedelta(microseconds=over)
        if up and over:
            if whole >= dt.datetime.max.replace(tzinfo=whole.tzinfo) - dt.timedelta(milliseconds=1):
                return f"{value:%Y-%m-%dT%H:%M:%S.%f}Z"  # the last millisecond of the year 9999
            whole += dt.timedelta(milliseconds=1)
        return f"{whole.year:04d}-{whole:%m-%dT%H:%M:%S}.{whole.microsecond // 1000:03d}Z"
    if isinstance(value, dt.date):
        return value.isoformat()
    return _cut_short(value, up=up) if isinstance(value, str) else value


def _hiding(largest: str) -> str:
    """An upper bound of a text that tells nothing of it: the last character, as often as the text begins with it, and once more."""
    return _LAST_CHARACTER * (len(largest) - len(largest.lstrip(_LAST_CHARACTER)) + 1)


def _cut_short(text: str, *, up: bool) -> str:
    """The beginning of a text, as its lower bound. If `up`, the largest character follows, which makes it an upper bound."""
    kept = TEXT_BOUND
    while up and text[kept : kept + 1] == _LAST_CHARACTER:
        kept += 1
    if len(text) <= kept:
        return text
    return text[:kept] + (_LAST_CHARACTER if up else "")
