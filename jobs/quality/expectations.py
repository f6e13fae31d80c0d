"""The kind of expectation that Great Expectations lacks: about a number that was measured of a table."""

# Great Expectations prescribes the signatures.
# ruff: noqa: ARG003
from __future__ import annotations

from typing import Any, ClassVar

from great_expectations.expectations.expectation import BatchExpectation
from great_expectations.render.components import LegacyRendererType, RenderedStringTemplateContent
from great_expectations.render.renderer.renderer import renderer

from jobs.quality.observed_counts import MEASURE


class ExpectMeasureToBeBetween(BatchExpectation):
    """Expect a number measured of a table, such as a rate or a volume as a share of the usual one, to be in a range."""

    measure: str
    source: str | None = None
    min_value: float | None = None
    max_value: float | None = None

    metric_dependencies: ClassVar[tuple[str, ...]] = (MEASURE,)
    success_keys: ClassVar[tuple[str, ...]] = ("measure", "source", "min_value", "max_value")

    def _validate(self, metrics: dict[str, Any], runtime_configuration: Any = None, execution_engine: Any = None) -> Any:
        return self._validate_metric_value_between(MEASURE, metrics, runtime_configuration, execution_engine)

    @classmethod
    @renderer(renderer_type=LegacyRendererType.PRESCRIPTIVE)
    def _prescriptive_renderer(
        cls, configuration: Any = None, result: Any = None, runtime_configuration: Any = None
    ) -> list[RenderedStringTemplateContent]:
        """The expectation as text for a page."""
        arguments = configuration.kwargs
        minimum, maximum = arguments.get("min_value"), arguments.get("max_value")
        if minimum is not None and minimum == maximum:
            bounds = "must be exactly $min_value."
        else:
            ends = [
                minimum is not None and "greater than or equal to $min_value",
                maximum is not None and "less than or equal to $max_value",
            ]
            bounds = f"must be {' and '.join(end for end in ends if end)}."
        subject = "$measure ($source) " if arguments.get("source") else "$measure "
        is_named = (runtime_configuration or {}).get("include_column_name") is not False
        template = {"template": subject + bounds if is_named else bounds, "params": arguments}
        return [RenderedStringTemplateContent(content_block_type="string_template", string_template=template)]
