"""What the checks of the last nights found, rule by rule, so that it shows when a rule began to fail."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from jobs.commands.query_rows import rows_of
from schemas.catalog import TABLES

NIGHTS = 30


@dataclass(frozen=True)
class CheckedNight:
    """The last run of a night that checked anything."""

    night: dt.date
    run_id: str
    is_failed: bool  # a critical check failed, and nothing was published


@dataclass(frozen=True)
class CheckResult:
    """What one check found in one night."""

    night: dt.date
    status: str  # passed, warning or failed
    observed: str | None
    threshold: str | None
    detail: str | None = None  # of what it was found, if the rule is about the worst one

    @property
    def title(self) -> str:
        """The result in words."""
        found = f"{self.observed or 'nothing'} found" + (f", {self.detail}" if self.detail else "")
        return f"{self.night}: {self.status}, {found}, allowed is {self.threshold}"


@dataclass
class RuleHistory:
    """The results of one rule, per night in the order of the nights; None where it was not checked."""

    table: str
    expectation: str
    source: str | None
    column: str | None
    severity: str
    results: list[CheckResult | None] = field(default_factory=list)
    newest: int = -1  # position of the newest night in which its table and source were checked: some rules are recorded only if they fail

    @property
    def failures(self) -> int:
        """In how many nights it did not pass."""
        return sum(result is not None and result.status != "passed" for result in self.results)

    @property
    def last(self) -> CheckResult | None:
        """The result of the newest night."""
        return self.results[self.newest]

    @property
    def is_failing(self) -> bool:
        """Whether it did not pass in the newest night."""
        return self.last is not None and self.last.status != "passed"

    @property
    def failing_since(self) -> dt.date | None:
        """The first of the nights, up to the newest one, in none of which it passed; None if it is not failing."""
        since = None
        for result in reversed(self.results) if self.is_failing else ():
            if result is not None and result.status == "passed":
                break
            since = result.night if result is not None else since
        return since

    @property
    def began_before(self) -> bool:
        """Whether it has been failing since the first night, and so may have begun before it."""
        first = self.results[0]
        return first is not None and self.failing_since == first.night


@dataclass(frozen=True)
class CheckHistory:
    """The rules of all tables over the last nights."""

    nights: Sequence[CheckedNight]
    rules: Mapping[str, Sequence[RuleHistory]]  # per table, in the order of the data dictionary

    @property
    def failing(self) -> list[RuleHistory]:
        """The rules that did not pass in the newest night: critical ones first, then the newest failures."""
        rules = [rule for of_table in self.rules.values() for rule in of_table if rule.is_failing]
        return sorted(
            rules, key=lambda rule: (rule.severity, -(rule.failing_since or dt.date.min).toordinal(), rule.table, rule.expectation)
        )


# A rebuild checks all nights at once and has no night of its own: it stands at the date on which it began.
_RESULTS = """
    WITH times AS (
        SELECT run_id, max(night) AS night, min(started) AS started, bool_or(status = 'failed') AS is_failed FROM runs GROUP BY run_id
    ),
    checked AS (
        SELECT run_id, coalesce(max(date), max(night), min(started)::DATE) AS night, min(started) AS started,
            bool_or(is_failed) AS is_failed
        FROM quality_results JOIN times USING (run_id)
        GROUP BY run_id
    ),
    nights AS (
        SELECT night, arg_max(run_id, started) AS run_id, arg_max(is_failed, started) AS is_failed
        FROM checked GROUP BY night ORDER BY night DESC LIMIT $1
    )
    SELECT night, run_id, is_failed, "table", expectation, source, "column", severity, observed, threshold, detail,
        CASE WHEN passed THEN 'passed' WHEN severity = 'critical' THEN 'failed' ELSE 'warning' END AS status
    FROM quality_results JOIN nights USING (run_id)
    ORDER BY night, "table", expectation, source, "column", passed DESC"""


def gather(tables: duckdb.DuckDBPyConnection) -> CheckHistory:
    """Read the results of the last nights."""
    rows = rows_of(tables, _RESULTS, NIGHTS)
    nights = {row["night"]: CheckedNight(row["night"], row["run_id"], row["is_failed"]) for row in rows}
    positions = {night: position for position, night in enumerate(nights)}
    rules: dict[tuple[Any, ...], RuleHistory] = {}
    for row in rows:
        key = (row["table"], row["expectation"], row["source"], row["column"])
        rule = rules.setdefault(key, RuleHistory(*key, severity=row["severity"], results=[None] * len(nights)))
        rule.severity = row["severity"]  # the newest one
        rule.results[positions[row["night"]]] = CheckResult(row["night"], row["status"], row["observed"], row["threshold"], row["detail"])
    newest: dict[tuple[str, str | None], int] = {}
    for row in rows:
        newest[row["table"], row["source"]] = positions[row["night"]]
    for rule in rules.values():
        rule.newest = newest[rule.table, rule.source]
    order = {name: number for number, name in enumerate(TABLES)}
    per_table: dict[str, list[RuleHistory]] = {}
    for rule in sorted(rules.values(), key=lambda rule: (order.get(rule.table, len(order)), rule.table)):
        per_table.setdefault(rule.table, []).append(rule)
    return CheckHistory(list(nights.values()), per_table)
