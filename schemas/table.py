"""The contract of a table: columns, types, units, meaning, key, partitions and checks, in one place.

The Delta schema with its comments, the data dictionary and the quality suite are derived from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

STRING = pa.string()
BINARY = pa.binary()
BOOLEAN = pa.bool_()
INTEGER = pa.int32()
BIGINT = pa.int64()
DOUBLE = pa.float64()
DATE = pa.date32()
TIMESTAMP = pa.timestamp("us", tz="UTC")

# What rows come from that are not computed from other tables.
ORIGINS = ("landed files", "every run", "every table", "every erasure")


def array_of(element: pa.DataType) -> pa.DataType:
    """An array type; `array_of(STRING)` is Spark's `array<string>`."""
    return pa.list_(element)


def struct_of(**fields: pa.DataType) -> pa.DataType:
    """A struct type with these fields, in this order."""
    return pa.struct([pa.field(name, kind) for name, kind in fields.items()])


@dataclass(frozen=True)
class Column:
    """One column of a table: its name, type, meaning and unit, and its allowed values."""

    name: str
    type: pa.DataType
    comment: str
    unit: str | None = None
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    values: tuple[str, ...] = ()
    is_personal: bool = False  # whether it can hold text about a person: no statistics have values of it

    @property
    def description(self) -> str:
        """The meaning, followed by the unit in brackets: the comment of the Delta column."""
        return f"{self.comment} [{self.unit}]" if self.unit else self.comment


@dataclass(frozen=True)
class Expectation:
    """An expectation of Great Expectations: its type and its arguments, as that library names them."""

    type: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Check:
    """A condition in DuckDB's SQL that every row of the table must meet. A row for which it is null meets it.

    Timestamps in the condition have no zone; they are UTC. A row for which it cannot be evaluated breaks it. So a condition must
    not raise for any value of the columns' types, or one client's nonsense would stop the night.

    `severity` is `critical` (a failure stops the publication) or `warning` (a failure is recorded). `expectation` is Great
    Expectations' equivalent of the condition; None: an expectation that runs the condition as a query.
    """

    name: str
    condition: str
    severity: str = "critical"
    expectation: Expectation | None = None


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
    # The tables that its rows are computed from, or one of ORIGINS.
    computed_from: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """The column names, in order."""
        return [column.name for column in self.columns]

    def __getitem__(self, name: str) -> Column:
        """The column of that name."""
        return next(column for column in self.columns if column.name == name)

    @property
    def arrow(self) -> pa.Schema:
        """The Arrow schema. Each field's metadata has its comment, which Delta and Spark show."""
        return pa.schema([pa.field(c.name, c.type, metadata={"comment": c.description}) for c in self.columns])

    def spark(self, *names: str) -> StructType:
        """The Spark schema of all columns, or of these columns in the table's order."""
        return spark_schema(pa.schema([pa.field(c.name, c.type) for c in self.columns if not names or c.name in names]))


def column(  # noqa: PLR0913 - the fields of a Column
    name: str,
    type: pa.DataType,
    comment: str,
    *,
    unit: str | None = None,
    required: bool = False,
    minimum: float | None = None,
    maximum: float | None = None,
    values: Iterable[str] = (),
    is_personal: bool | None = None,
) -> Column:
    """A column of a contract: see `Column`. By default, text is personal unless its values are given."""
    values = tuple(values)
    personal = type == STRING and not values if is_personal is None else is_personal
    return Column(name, type, comment, unit, required, minimum, maximum, values, personal)


def ordered(name: str, first: str, last: str) -> Check:
    """The check that the column `first` is at most the column `last`."""
    at_most = Expectation("expect_column_pair_values_a_to_be_greater_than_b", {"column_A": last, "column_B": first, "or_equal": True})
    return Check(name, f"{first} <= {last}", expectation=at_most)


def spark_schema(schema: pa.Schema) -> StructType:
    """The Spark schema of an Arrow schema, with timestamps as Spark's TIMESTAMP (an instant, UTC)."""
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(schema)


def sql_type(kind: pa.DataType) -> str:
    """A type as Spark SQL writes it: `array<struct<id:string,count:bigint>>`."""
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
        return f"array<{sql_type(kind.value_type)}>"
    if pa.types.is_struct(kind):
        return "struct<" + ",".join(f"{f.name}:{sql_type(f.type)}" for f in kind) + ">"
    if pa.types.is_map(kind):
        return f"map<{sql_type(kind.key_type)},{sql_type(kind.item_type)}>"
    return plain[kind]
