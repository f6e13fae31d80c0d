"""The quality gate: Great Expectations judges what was observed, and writes pages that a person can browse.

What a suite asks of a table is worked out in one aggregate by the engine that holds the rows; the suite itself then
runs on the one row of observed values. So the gate costs seconds, however many rules there are.
"""

from __future__ import annotations

import datetime as dt
import html
import logging
import os
import threading
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

# Great Expectations reads this when it is imported; a nightly job does not call home.
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")

PAGES = "_quality"


@dataclass(frozen=True)
class Finding:
    """One rule, what was observed, and what is allowed."""

    table: str
    expectation: str
    severity: str
    observed: float | None  # None: nothing to observe, which passes
    minimum: float | None = None
    maximum: float | None = None
    column: str | None = None
    source: str | None = None
    passed: bool = True

    @property
    def label(self) -> str:
        """The rule as it stands in the pages, with the source it is of."""
        return f"{self.expectation} ({self.source})" if self.source else self.expectation

    @property
    def threshold(self) -> str:
        """What is allowed, in words."""
        if self.minimum is not None and self.maximum is not None:
            return f"{self.minimum:g} … {self.maximum:g}" if self.minimum != self.maximum else f"{self.minimum:g}"
        return f"at least {self.minimum:g}" if self.minimum is not None else f"at most {self.maximum:g}"


def pages_of(lake: Path, night: dt.date) -> Path:
    """The folder of the pages of a night."""
    return lake / PAGES / night.isoformat()


def warm_up() -> None:
    """Import Great Expectations beside other work: that alone takes seconds."""
    threading.Thread(target=_import, daemon=True).start()


def judge(findings: Iterable[Finding], name: str, pages: Path | None) -> list[Finding]:
    """Run one suite per table over its observed values; gives the findings with the verdict, and writes the pages.

    `name` names the run in the pages; `pages` is the folder they are written to, None for none.
    """
    gx = _import()
    # It tells twice what it raises.
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
    import pandas as pd
    from great_expectations.core.run_identifier import RunIdentifier

    # With a time of its own: left to itself it asks for the machine's time zone, which has failed.
    identifier = RunIdentifier(run_name=name, run_time=dt.datetime.now(dt.UTC))
    by_table: dict[str, list[Finding]] = {}
    for finding in findings:
        by_table.setdefault(finding.table, []).append(finding)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False}
        if pages is not None:
            context.add_data_docs_site(site_name="millrace", site_config=_site(pages))
        staged = context.data_sources.add_pandas("staged")
        judged: list[Finding] = []
        for table, asked in by_table.items():
            batch = staged.add_dataframe_asset(table).add_batch_definition_whole_dataframe("night")
            suite = context.suites.add(gx.ExpectationSuite(name=table, expectations=[_expectation(gx, finding) for finding in asked]))
            definition = context.validation_definitions.add(gx.ValidationDefinition(name=table, data=batch, suite=suite))
            observed = pd.DataFrame([{finding.label: finding.observed for finding in asked}], dtype="float64")
            result = definition.run(batch_parameters={"dataframe": observed}, result_format="BASIC", run_id=identifier)
            judged += _verdicts(asked, result.results)
        if pages is not None:
            context.build_data_docs()
            _list_pages(pages, by_table)
    return judged


def _list_pages(pages: Path, tables: Iterable[str]) -> None:
    """Name the tables' pages in the index: its own list is drawn by a script from the web, which not every reader may load."""
    items = ""
    for table in tables:
        written = sorted((pages / "validations" / table).rglob("*.html"), key=lambda page: page.stat().st_mtime_ns)
        if written:
            items += f'<li><a href="{html.escape(written[-1].relative_to(pages).as_posix())}">{html.escape(table)}</a></li>'
    index = pages / "index.html"
    index.write_text(index.read_text().replace("</body>", f"<h2>Tables, as last checked</h2><ul>{items}</ul></body>", 1))


def _verdicts(asked: Sequence[Finding], results: Iterable[Any]) -> list[Finding]:
    verdicts = {result.expectation_config.kwargs["column"]: bool(result.success) for result in results}
    return [replace(finding, passed=finding.observed is None or verdicts[finding.label]) for finding in asked]


def _expectation(gx: Any, finding: Finding) -> Any:
    return gx.expectations.ExpectColumnMaxToBeBetween(
        column=finding.label,
        min_value=finding.minimum,
        max_value=finding.maximum,
        severity=finding.severity,
        notes=f"{finding.severity}: allowed is {finding.threshold}",
    )


def _site(pages: Path) -> dict[str, Any]:
    return {
        "class_name": "SiteBuilder",
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(pages.resolve())},
    }


def _import() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import great_expectations as gx
        import great_expectations.expectations

        return gx
