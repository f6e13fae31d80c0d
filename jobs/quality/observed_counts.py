"""An execution engine of Great Expectations that looks metrics up in observed counts, and reads no row.

An expectation names the metrics that it needs, for example `column_values.in_set.unexpected_count` of a column and a set. An
execution engine resolves them. This engine resolves them from the counts that a run has observed of a table: the table's batch.
"""

# Great Expectations prescribes the signatures.
# ruff: noqa: ARG002
from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

from great_expectations.compatibility import pydantic
from great_expectations.core import IDDict
from great_expectations.core.batch import BatchData, BatchMarkers, LegacyBatchDefinition
from great_expectations.core.batch_spec import RuntimeDataBatchSpec
from great_expectations.datasource.fluent.batch_request import BatchRequest
from great_expectations.datasource.fluent.interfaces import Batch, DataAsset, Datasource
from great_expectations.exceptions.exceptions import MetricResolutionError
from great_expectations.execution_engine.execution_engine import ExecutionEngine
from great_expectations.expectations.metrics.metric_provider import MetricProvider
from great_expectations.expectations.registry import get_metric_kwargs, register_metric

MEASURE = "measure.value"
ROWS = "table.row_count"
NULLS = "column_values.nonnull.unexpected_count"
UNEXPECTED_ROWS = "unexpected_rows_query.row_count"
_MAP_METRICS = (
    "column_values.nonnull",
    "column_values.in_set",
    "column_values.between",
    "column_values.unique",
    "compound_columns.unique",
    "column_pair_values.a_greater_than_b",
)
# The arguments that identify a metric, together with its name.
_ARGUMENTS = (
    "column",
    "column_list",
    "column_A",
    "column_B",
    "value_set",
    "min_value",
    "max_value",
    "strict_min",
    "strict_max",
    "or_equal",
    "unexpected_rows_query",
    "measure",
    "source",
)


def metric_key(metric: str, arguments: Mapping[str, Any]) -> str:
    """The key of a metric in a batch, as JSON: its name and the arguments that identify it."""
    given = {name: arguments[name] for name in _ARGUMENTS if arguments.get(name) is not None and arguments[name] is not False}
    return json.dumps([metric, given])


class ObservedCounts(BatchData):
    """The observed metrics of a table, by key."""

    def __init__(self, engine: ObservedCountsEngine, values: Mapping[str, float]) -> None:
        super().__init__(execution_engine=engine)
        self.values = values


class ObservedCountsEngine(ExecutionEngine[None]):
    """Resolves metrics from observed counts. A metric that was not observed is an error, so its expectation never holds."""

    def get_batch_data_and_markers(self, batch_spec: Any) -> tuple[BatchData, BatchMarkers]:
        """The counts as the data of a batch."""
        return ObservedCounts(self, batch_spec["batch_data"]), BatchMarkers({"ge_load_time": dt.datetime.now(dt.UTC).isoformat()})

    def resolve_metrics(
        self, metrics_to_resolve: Iterable[Any], metrics: Any = None, runtime_configuration: dict[str, Any] | None = None
    ) -> dict[Any, Any]:
        """The values of these metrics, by id."""
        return {metric.id: self._value(metric) for metric in metrics_to_resolve}

    def _value(self, metric: Any) -> Any:
        if metric.metric_name == "unexpected_rows_query.table":
            return []
        observed = self.batch_manager.active_batch_data
        assert isinstance(observed, ObservedCounts)
        if metric.metric_name == ROWS or metric.metric_name.endswith(".filtered_row_count"):
            return observed.values[metric_key(ROWS, {})]
        key = metric_key(metric.metric_name, {**metric.metric_domain_kwargs, **metric.metric_value_kwargs})
        if key not in observed.values:
            raise MetricResolutionError(f"{key} was not observed", (metric,))
        return observed.values[key]

    def _no_condition(self, condition: Any) -> None:
        raise NotImplementedError("rows are not read, so an expectation of observed counts has no row_condition")

    _comparison_condition_to_filter_clause = _no_condition
    _nullity_condition_to_filter_clause = _no_condition
    _and_condition_to_filter_clause = _no_condition
    _or_condition_to_filter_clause = _no_condition


class _Observed(MetricProvider):
    """A metric that depends on no other metric."""


def _register() -> None:
    counted = [f"{metric}.unexpected_count" for metric in _MAP_METRICS]
    counted += [f"{metric}.filtered_row_count" for metric in _MAP_METRICS if not metric.startswith("column_values")]
    for metric in (*counted, ROWS, "unexpected_rows_query.table", UNEXPECTED_ROWS):
        keys = get_metric_kwargs(metric)
        register_metric(metric, keys["metric_domain_keys"], keys["metric_value_keys"], ObservedCountsEngine, _Observed, None)
    register_metric(MEASURE, ("batch_id",), ("measure", "source"), ObservedCountsEngine, _Observed, None)


_register()


class TablesAsset(DataAsset[Any, Any]):
    """The tables of a night. A batch is the observed counts of one: it is requested by `{"table": name}`."""

    type: Literal["observed_tables"] = "observed_tables"
    _counts: dict[str, Mapping[str, float]] = pydantic.PrivateAttr({})

    def observe(self, table: str, values: Mapping[str, float]) -> Batch:
        """The batch of a table with these metrics, by key."""
        self._counts[table] = values
        return self.get_batch(self.build_batch_request({"table": table}))

    def build_batch_request(self, options: Any = None, batch_slice: Any = None, partitioner: Any = None) -> Any:
        """The request of one table's batch."""
        return BatchRequest(datasource_name=self.datasource.name, data_asset_name=self.name, options=options or {})

    def get_batch_parameters_keys(self, partitioner: Any = None) -> tuple[str, ...]:
        """The name of the parameter that identifies a batch."""
        return ("table",)

    def get_batch_identifiers_list(self, batch_request: Any) -> list[dict[str, Any]]:
        """The identifiers of the requested batches."""
        return [IDDict(batch_request.options)]

    def get_batch(self, batch_request: Any) -> Batch:
        """The observed counts of the requested table."""
        table = batch_request.options["table"]
        data, markers = self.datasource.get_execution_engine().get_batch_data_and_markers({"batch_data": self._counts[table]})
        return Batch(
            datasource=self.datasource,
            data_asset=self,
            batch_request=batch_request,
            data=data,
            batch_markers=markers,
            batch_spec=RuntimeDataBatchSpec(batch_data="observed counts"),
            batch_definition=LegacyBatchDefinition(self.datasource.name, "observed", self.name, IDDict(batch_request.options)),
        )

    def test_connection(self) -> None:
        """There is nothing to connect to."""

    def _validate_batch_request(self, batch_request: Any) -> None:
        pass


class ObservedCountsDatasource(Datasource[Any, Any]):
    """The data source of observed counts."""

    asset_types: ClassVar[list[type[DataAsset[Any, Any]]]] = [TablesAsset]
    type: Literal["observed_counts"] = "observed_counts"
    assets: list[TablesAsset] = []  # noqa: RUF012 - a field of pydantic, which copies it

    @property
    def execution_engine_type(self) -> Any:
        """The engine that looks metrics up."""
        return ObservedCountsEngine

    def add_tables(self, name: str) -> TablesAsset:
        """Add the asset of the tables."""
        asset: TablesAsset = self._add_asset(TablesAsset(name=name))
        return asset

    def test_connection(self, test_assets: bool = True) -> None:
        """There is nothing to connect to."""
