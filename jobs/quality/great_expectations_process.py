"""Great Expectations in a process of its own: it validates observed counts, and writes pages about them.

    python -m jobs.quality.great_expectations_process

It reads one request per line, as JSON: {"name", "pages", "findings"}. It answers with one line: {"passed": [one boolean per
finding]}. If pages are requested, a second line follows when they are written: {"pages": null, or the reason why they could not
be written}. The process ends at the end of its input.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from jobs.storage.storage_paths import storage_path

# Great Expectations reads this variable when it is imported. A nightly job sends no usage statistics.
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")

if TYPE_CHECKING:
    from jobs.quality.observed_counts import TablesAsset

Finding = Mapping[str, Any]


def main(requests: TextIO, answers: TextIO) -> None:
    """Answer requests until the end of the input."""
    # Garbage collection costs a quarter of the import time; it runs between requests.
    gc.disable()

    def answer(content: Mapping[str, Any]) -> None:
        print(json.dumps(content), file=answers, flush=True)

    tables = _tables()
    for line in requests:
        request = json.loads(line)
        findings, name, pages = request["findings"], request["name"], request["pages"]
        try:
            passed = validate(tables, findings)
        except Exception as error:  # noqa: BLE001 - the caller gets the reason of any failure
            answer({"error": _reason(error)})
            continue
        answer({"passed": passed})
        if pages is not None:
            from jobs.quality.pages import write_pages

            try:
                write_pages(storage_path(pages), name, findings, passed, [words(finding) for finding in findings])
            except Exception as error:  # noqa: BLE001
                answer({"pages": _reason(error)})
            else:
                answer({"pages": None})
        gc.collect()


def validate(tables: TablesAsset, findings: Sequence[Finding]) -> list[bool]:
    """Whether each finding's expectation holds. There is one suite per table, validated on the batch of the table's observed counts.

    A finding without an observed value passes. Raises RuntimeError when an expectation could not be evaluated.
    """
    from great_expectations import ExpectationSuite

    passed = [True] * len(findings)
    by_table: dict[str, list[int]] = {}
    for number, finding in enumerate(findings):
        if finding["observed"] is not None:
            by_table.setdefault(finding["table"], []).append(number)
    for table, numbers in by_table.items():
        suite = ExpectationSuite(name=table)
        for number in numbers:
            suite.expectations.append(_expectation(findings[number], meta={"finding": number}))
        batch = tables.observe(table, _metrics([(findings[number], suite.expectations[index]) for index, number in enumerate(numbers)]))
        for result in batch.validate(suite, result_format="BOOLEAN_ONLY").results:
            assert result.expectation_config is not None
            number = result.expectation_config.meta["finding"]
            if why := _exception(result.exception_info):
                raise RuntimeError(f"{table}, {findings[number]['label']}: {why}")
            passed[number] = bool(result.success)
    return passed


def _exception(info: Mapping[str, Any]) -> str | None:
    """Why an expectation could not be evaluated. `info` is about the expectation itself, or has one entry per metric."""
    each = [info] if "raised_exception" in info else list(info.values())
    return next((one["exception_message"] for one in each if one["raised_exception"]), None)


def words(finding: Finding) -> str:
    """A finding's expectation as Great Expectations' renderer words it, without the name of the column or measure."""
    from string import Template

    from great_expectations.expectations.registry import get_renderer_impl
    from great_expectations.render.components import LegacyRendererType

    configuration = _expectation(finding).configuration
    implementation = get_renderer_impl(configuration.type, LegacyRendererType.PRESCRIPTIVE)
    assert implementation is not None
    rendered = implementation.renderer(configuration=configuration, runtime_configuration={"include_column_name": False})
    assert isinstance(rendered, list)
    parts: list[Any] = [part.to_json_dict()["string_template"] for part in rendered]
    return " ".join(Template(part["template"]).safe_substitute(part["params"]) for part in parts)


def _expectation(finding: Finding, **more: Any) -> Any:
    from great_expectations.expectations.registry import get_expectation_impl

    from jobs.quality.expectations import ExpectMeasureToBeBetween

    if finding["rule"] is not None:
        return get_expectation_impl(finding["rule"]["type"])(**finding["rule"]["arguments"], severity=finding["severity"], **more)
    return ExpectMeasureToBeBetween(
        measure=finding["expectation"],
        source=finding["source"],
        min_value=finding["minimum"],
        max_value=finding["maximum"],
        severity=finding["severity"],
        **more,
    )


def _metrics(expectations: Sequence[tuple[Finding, Any]]) -> dict[str, float]:
    """The observed metrics that the expectations of a table need, by key."""
    from jobs.quality.observed_counts import MEASURE, NULLS, ROWS, UNEXPECTED_ROWS, metric_key

    values: dict[str, float] = {}

    def add(metric: str, arguments: Mapping[str, Any], value: float) -> None:
        key = metric_key(metric, arguments)
        if values.setdefault(key, value) != value:
            raise ValueError(f"{key} was observed as {values[key]} and as {value}")

    for finding, expectation in expectations:
        arguments, observed = expectation.configuration.kwargs, finding["observed"]
        if finding["rule"] is None:
            add(MEASURE, {"measure": finding["expectation"], "source": finding["source"]}, observed)
            continue
        if observed and not finding["rows"]:
            raise ValueError(f"{finding['label']}: {observed} rows break it, of none")
        add(ROWS, {}, finding["rows"])
        map_metric = getattr(expectation, "map_metric", None)
        add(UNEXPECTED_ROWS if map_metric is None else f"{map_metric}.unexpected_count", arguments, observed)
        if "column" in arguments:
            add(NULLS, {"column": arguments["column"]}, finding["nulls"])
    return values


def _tables() -> TablesAsset:
    """Import Great Expectations, and add the data source of observed counts to a context."""
    import great_expectations as gx

    # Great Expectations logs every error that it raises.
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
    from jobs.quality.observed_counts import ObservedCountsDatasource

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
    observed: ObservedCountsDatasource = context.data_sources.add_observed_counts("observed")
    return observed.add_tables("tables")


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    # Answers get a stream of their own, because libraries may print to stdout.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        main(sys.stdin, answers)
    except BrokenPipeError:
        # The parent process has ended.
        os._exit(1)
