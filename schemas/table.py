"""A table's contract: columns, types, units, meaning, key, partitions and checks, in one place.

The Delta schema with its comments, the data dictionary, `conform` and the quality suite are all derived from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

STRING = pa.string()
BINARY = pa.binary()
BOOLEAN = pa.bool_()
INTEGER = pa.int32()
BIGINT = pa.int64()
DOUBLE = pa.float64()
DATE = pa.date32()
TIMESTAMP = pa.timestamp("us", tz="UTC")


def array_of(element: pa.DataType) -> pa.DataType:
    """An array type; `array_of(STRING)` is Spark's `array<string>`."""
    return pa.list_(element)


def struct_of(**fields: pa.DataType) -> pa.DataType:
    """A struct type with these fields, in this order."""
    return pa.struct([pa.field(name, kind) for name, kind in fields.items()])


class ContractError(Exception):
    """A frame does not have what its table's contract asks for. Remedy: mend the transform that built it."""


@dataclass(frozen=True)
class Column:
    """One column of a table: its name, type, meaning and unit, and the values that it may hold."""

    name: str
    type: pa.DataType
    comment: str
    unit: str | None = None
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    values: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        """The meaning with the unit behind it, as the Delta column comment says it."""
        return f"{self.comment} [{self.unit}]" if self.unit else self.comment


@dataclass(frozen=True)
class Check:
    """A condition in DuckDB's SQL that every row of the table must meet; a row for which it is null meets it.

    Times in it have no zone: they are UTC.

    `severity` is `critical` (a failure stops the publication) or `warning` (a failure is recorded).
    """

    name: str
    condition: str
    severity: str = "critical"


@dataclass(frozen=True)
class Table:
    """The contract of one Delta table."""

    name: str
    one_row_per: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    partitioned_by: tuple[str, ...] = ()
    sorted_by: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    internal: bool = field(default=False)

    @property
    def names(self) -> list[str]:
        """The column names, in order."""
        return [column.name for column in self.columns]

    def __getitem__(self, name: str) -> Column:
        """The column of that name."""
        return next(column for column in self.columns if column.name == name)

    @property
    def arrow(self) -> pa.Schema:
        """The Arrow schema; each field's metadata bears its comment, which Delta and Spark show."""
        return pa.schema([pa.field(c.name, c.type, metadata={"comment": c.description}) for c in self.columns])

    def spark(self, *names: str) -> StructType:
        """The Spark schema, of all columns or of these."""
        return spark_schema(pa.schema([pa.field(c.name, c.type) for c in self.columns if not names or c.name in names]))

    def conform(self, frame: DataFrame) -> DataFrame:
        """Select exactly this table's columns, in order and with their types.

        Raises ContractError when a column is missing.
        """
        from pyspark.sql import functions as F

        wanted = {f.name: f.dataType for f in self.spark().fields}
        missing = [name for name in wanted if name not in frame.columns]
        if missing:
            raise ContractError(f"{self.name}: the frame lacks {', '.join(missing)}")
        return frame.select(*[F.col(name).cast(kind).alias(name) for name, kind in wanted.items()])


def column(
    name: str,
    type: pa.DataType,
    comment: str,
    *,
    unit: str | None = None,
    required: bool = False,
    minimum: float | None = None,
    maximum: float | None = None,
    values: Iterable[str] = (),
) -> Column:
    """A column of a contract: see `Column`."""
    return Column(name, type, comment, unit, required, minimum, maximum, tuple(values))


def spark_schema(schema: pa.Schema) -> StructType:
    """The Spark schema of an Arrow schema, with timestamps as Spark's TIMESTAMP (an instant, UTC)."""
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(schema)


def spelled(kind: pa.DataType) -> str:
    """A type in Spark SQL's words: `array<struct<id:string,count:bigint>>`."""
    plain: Mapping[pa.DataType, str] = {
        STRING: "string",
        BINARY: "binary",
        BOOLEAN: "boolean",
        INTEGER: "int",
        BIGINT: "bigint",
        DOUBLE: "double",
        DATE: "date",
        TIMESTAMP: "timestamp",
    }
    if pa.types.is_list(kind):
        return f"array<{spelled(kind.value_type)}>"
    if pa.types.is_struct(kind):
        return "struct<" + ",".join(f"{f.name}:{spelled(f.type)}" for f in kind) + ">"
    if pa.types.is_map(kind):
        return f"map<{spelled(kind.key_type)},{spelled(kind.item_type)}>"
    return plain[kind]
