"""The data dictionary as a document and as one HTML page with the lineage of the tables. Both are derived from the contracts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobs.commands import lineage, page_templates
from jobs.commands.page_templates import SitePlace
from schemas.bookkeeping import DAILY_METRICS
from schemas.metrics import METRICS, Metric
from schemas.table import Column, Table, sql_type

TEMPLATE = "dictionary.html"


def document(tables: Sequence[Table]) -> dict[str, Any]:
    """The dictionary of these tables as JSON values; with the metrics if `daily_metrics` is one of them."""
    described: dict[str, Any] = {"tables": [_table(table) for table in tables]}
    if DAILY_METRICS in tables:
        described["metrics"] = [_metric(metric) for metric in METRICS.values()]
    return described


def page(tables: Sequence[Table], site: SitePlace | None = None) -> str:
    """The dictionary as one HTML page, which needs no script, no other file and no network. `site` says where it stands in a site."""
    return (
        page_templates.environment()
        .get_template(TEMPLATE)
        .render(
            site=site,
            tables=tables,
            used_by=lineage.used_by(tables),
            names={table.name for table in tables},
            drawing=lineage.draw(tables),
            box_height=lineage.BOX_HEIGHT,
            sql_type=sql_type,
            meaning=meaning,
            metrics=METRICS.values(),
            metrics_table=DAILY_METRICS.name,
        )
    )


def meaning(column: Column) -> str:
    """The meaning of a column, followed by its allowed values if they are listed."""
    return f"{column.comment}; one of {', '.join(column.values)}" if column.values else column.comment


def _table(table: Table) -> dict[str, Any]:
    return {
        "name": table.name,
        "one_row_per": table.one_row_per,
        "key": list(table.key),
        "partitioned_by": list(table.partitioned_by),
        "computed_from": list(table.computed_from),
        "columns": [_column(column) for column in table.columns],
        "checks": [{"name": check.name, "severity": check.severity, "condition": check.condition} for check in table.checks],
    }


def _column(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "type": sql_type(column.type),
        "unit": column.unit,
        "always_filled": column.required,
        "meaning": column.comment,
        "values": list(column.values),
        "minimum": column.minimum,
        "maximum": column.maximum,
    }


def _metric(metric: Metric) -> dict[str, Any]:
    return {
        "name": metric.name,
        "unit": metric.unit or None,
        "by": metric.family,
        "dimensions": list(metric.dimensions),
        "definition": metric.definition,
    }
