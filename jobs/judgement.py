"""Great Expectations, in a process of its own: judges what it is asked, and writes pages that a person can browse.

    python -m jobs.judgement

Reads one question per line, as JSON: {"name", "pages", "findings"}. Answers one line with a verdict per finding, and, where
pages are asked for, a second one when they are written: {"verdicts": […]}, {"pages": null or why there are none}. It ends with
its input. Imports nothing of Millrace: Great Expectations alone takes seconds to import.
"""

from __future__ import annotations

import datetime as dt
import gc
import html
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

# Great Expectations reads this when it is imported; a nightly job does not call home.
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
_SITE = "millrace"


def main(questions: TextIO, answers: TextIO) -> None:
    """Answer questions until there are no more."""
    # Cyclic garbage collection is a quarter of the time that all of this takes; what it would find is found between questions.
    gc.disable()

    def answer(said: Mapping[str, Any]) -> None:
        print(json.dumps(said), file=answers, flush=True)

    gx = _imported()
    for line in questions:
        question = json.loads(line)
        try:
            verdicts, write_pages = _judge(gx, question["findings"], question["name"], question["pages"] and Path(question["pages"]))
        except Exception as error:  # noqa: BLE001 - whoever asked is told, whatever it is
            answer({"error": _said(error)})
            continue
        answer({"verdicts": verdicts})
        if question["pages"]:
            try:
                write_pages()
            except Exception as error:  # noqa: BLE001
                answer({"pages": _said(error)})
            else:
                answer({"pages": None})
        gc.collect()


def _judge(gx: Any, findings: Sequence[Mapping[str, Any]], name: str, pages: Path | None) -> tuple[list[bool], Callable[[], None]]:
    """Run one suite per table over its observed values; gives the verdicts, in the findings' order, and what writes the pages.

    `name` names the run in the pages; `pages` is the folder they are written to.
    """
    import pandas as pd
    from great_expectations.core.run_identifier import RunIdentifier

    # With a time of its own: left to itself it asks for the machine's time zone, which has failed.
    identifier = RunIdentifier(run_name=name, run_time=dt.datetime.now(dt.UTC))
    by_table: dict[str, list[Mapping[str, Any]]] = {}
    for finding in findings:
        by_table.setdefault(finding["table"], []).append(finding)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    if pages is not None:
        context.add_data_docs_site(site_name=_SITE, site_config=_site(pages))
    staged = context.data_sources.add_pandas("staged")
    passed: dict[tuple[str, str], bool] = {}
    for table, asked in by_table.items():
        batch = staged.add_dataframe_asset(table).add_batch_definition_whole_dataframe("night")
        suite = context.suites.add(gx.ExpectationSuite(name=table, expectations=[_expectation(gx, finding) for finding in asked]))
        definition = context.validation_definitions.add(gx.ValidationDefinition(name=table, data=batch, suite=suite))
        observed = pd.DataFrame([{finding["label"]: finding["observed"] for finding in asked}], dtype="float64")
        result = definition.run(batch_parameters={"dataframe": observed}, result_format="BASIC", run_id=identifier)
        for verdict in result.results:
            passed[table, verdict.expectation_config.kwargs["column"]] = bool(verdict.success)

    def write_pages() -> None:
        if pages is not None:
            context.build_data_docs(site_names=[_SITE])
            _list_pages(pages, by_table)

    return [finding["observed"] is None or passed[finding["table"], finding["label"]] for finding in findings], write_pages


def _expectation(gx: Any, finding: Mapping[str, Any]) -> Any:
    return gx.expectations.ExpectColumnMaxToBeBetween(
        column=finding["label"],
        min_value=finding["minimum"],
        max_value=finding["maximum"],
        severity=finding["severity"],
        notes=f"{finding['severity']}: allowed is {finding['threshold']}",
    )


def _site(pages: Path) -> dict[str, Any]:
    return {
        "class_name": "SiteBuilder",
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        # What was observed stands beside what is allowed: pages of the expectations alone would say less, for half the time.
        "site_section_builders": {"expectations": "None", "profiling": "None"},
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(pages.resolve())},
    }


def _list_pages(pages: Path, tables: Iterable[str]) -> None:
    """Name the tables' pages in the index: its own list is drawn by a script from the web, which not every reader may load."""
    items = ""
    for table in tables:
        written = sorted((pages / "validations" / table).rglob("*.html"), key=lambda page: page.stat().st_mtime_ns)
        if written:
            items += f'<li><a href="{html.escape(written[-1].relative_to(pages).as_posix())}">{html.escape(table)}</a></li>'
    index = pages / "index.html"
    index.write_text(index.read_text().replace("</body>", f"<h2>Tables, as last checked</h2><ul>{items}</ul></body>", 1))


def _imported() -> Any:
    # What is judged is the maximum of a column of pandas. Great Expectations goes without PySpark where there is none, and draws
    # and computes distributions for no one here: without these three its import is half as long.
    sys.modules["pyspark"] = None  # type: ignore[assignment]
    for unused in ("altair", "scipy.stats"):
        sys.modules[unused] = ModuleType(unused)
    import great_expectations as gx
    import great_expectations.expectations

    # It tells twice what it raises.
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
    return gx


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    # What libraries print is no answer.
    told = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        main(sys.stdin, told)
    except BrokenPipeError:
        # Nobody waits for the answer any more.
        os._exit(1)
