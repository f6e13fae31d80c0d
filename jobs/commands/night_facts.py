"""The numbers of the report on one night, read from the tables of the lake's recorded state."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import duckdb

from jobs.commands.query_rows import rows_of
from jobs.errors import UsageError
from jobs.quality.baseline import LANDED
from transforms.times import shifted

# How many nights the report compares, the reported one included.
NIGHTS = 14
REFUSALS_SHOWN = 12
# Session durations are counted in bins that grow by the same factor: so many per decade, from a second to 10^5 seconds.
BINS_PER_DECADE = 4
BINS = 5 * BINS_PER_DECADE


@dataclass(frozen=True)
class StepTimes:
    """One step of a run; `offset` and `seconds` count from the start of the run's first step."""

    name: str
    offset: float
    seconds: float


@dataclass(frozen=True)
class NightRun:
    """The reported run: the last run of the night that had anything to do."""

    run_id: str
    command: str
    started: dt.datetime
    ended: dt.datetime
    failed: bool  # a critical check failed: nothing was published
    sources: str | None  # what it was limited to
    steps: Sequence[StepTimes]

    @property
    def seconds(self) -> float:
        """From the start of its first step to the end of its last."""
        return (self.ended - self.started).total_seconds()


@dataclass(frozen=True)
class SourceCounts:
    """What one source landed on one date, and what became of it."""

    files: int = 0
    unreadable: int = 0
    size: int = 0  # bytes
    records: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    erased: int = 0
    late: int = 0  # of the accepted
    in_tables: Mapping[str, int] = field(default_factory=dict)  # rows in the tables: accepted, duplicates, rejected

    @property
    def imbalance(self) -> int:
        """Records that are in no table or in more than one. 0 if no record is lost."""
        counted = {"accepted": self.accepted, "duplicates": self.duplicates, "rejected": self.rejected}
        lost = abs(self.records - sum(counted.values()) - self.erased)
        return lost + sum(abs(counted[kind] - rows) for kind, rows in self.in_tables.items())


@dataclass(frozen=True)
class LandingHour:
    """What one source landed in one hour of the date; `hour` is None for files whose path names none."""

    hour: int | None
    files: int
    unreadable: int = 0
    events: int = 0
    late: int = 0


@dataclass(frozen=True)
class SessionDurations:
    """The sessions of one source that began on one date."""

    began: dt.date
    bins: Sequence[int]  # sessions under a second, then per bin of duration
    without_duration: int


@dataclass(frozen=True)
class RejectionGroup:
    """Records that were refused for the same reason, and the first of them."""

    source: str
    reason: str
    path: str
    detail: str
    records: int
    example: str


@dataclass(frozen=True)
class FailedCheck:
    """A check of the run that failed."""

    severity: str
    table: str
    source: str | None
    expectation: str
    observed: str | None
    threshold: str | None
    detail: str | None


@dataclass(frozen=True)
class Facts:
    """Everything that the report shows of a night."""

    night: dt.date
    nights: Sequence[dt.date]  # the dates that are compared, the night last
    landed: frozenset[dt.date]  # of these, those on which anything landed
    sources: Sequence[str]
    run: NightRun
    idle_runs: int  # runs of the night after it that found nothing to do
    later: Sequence[str]  # runs of other nights that have changed this night's records since, as text
    accounts: Mapping[dt.date, Mapping[str, SourceCounts]]
    hours: Mapping[str, Sequence[LandingHour]]
    sessions: Mapping[str, SessionDurations]
    metrics: Mapping[tuple[str, str], Mapping[dt.date, float]]  # by source and metric
    refused: Mapping[tuple[str, str], int]  # records by source and reason
    refusals: Sequence[RejectionGroup]
    unreadable: Sequence[tuple[str, int, str]]  # file, bytes, why
    checks: Mapping[str, tuple[int, int]]  # per table: checks, and how many of them failed
    failures: Sequence[FailedCheck]

    @property
    def missing(self) -> Sequence[str]:
        """The expected sources that had not landed when the night was run, and have not landed since."""
        absent = {check.source for check in self.failures if check.expectation == LANDED and check.source is not None}
        return sorted(source for source in absent if not self.account(source).files)

    def account(self, source: str) -> SourceCounts:
        """What a source landed on the night's date."""
        return self.accounts.get(self.night, {}).get(source, SourceCounts())


def gather(tables: duckdb.DuckDBPyConnection, night: dt.date) -> Facts:
    """Read the facts of a night.

    Raises UsageError when no run has ever had anything to do with the night.
    """
    first = shifted(night, 1 - NIGHTS)
    run, idle_runs, later = _runs(tables, night)
    accounts = _accounts(tables, first, night)
    return Facts(
        night=night,
        nights=[shifted(first, days) for days in range((night - first).days + 1)],
        landed=frozenset(accounts),
        sources=[row["source"] for row in rows_of(tables, "SELECT DISTINCT source FROM files ORDER BY source")],
        run=run,
        idle_runs=idle_runs,
        later=later,
        accounts=accounts,
        hours=_hours(tables, night),
        sessions=_sessions(tables, night),
        metrics=_metrics(tables, first, night),
        refused={(row["source"], row["reason"]): row["records"] for row in rows_of(tables, _REFUSED, night)},
        refusals=[RejectionGroup(**row) for row in rows_of(tables, _REFUSALS, night, REFUSALS_SHOWN)],
        unreadable=[(row["file"], row["size"], row["error"]) for row in rows_of(tables, _UNREADABLE, night, run.run_id)],
        checks={row["table"]: (row["checks"], row["failed"]) for row in rows_of(tables, _CHECKS, run.run_id)},
        failures=[FailedCheck(**row) for row in rows_of(tables, _FAILURES, run.run_id)],
    )


# Runs

_RUNS = """
    SELECT run_id, any_value(command) AS command, any_value(night) AS night, min(started) AS started, max(ended) AS ended,
        bool_or(status = 'failed') AS failed, max(sources) AS sources, count(*) > 1 AS worked,
        list({'name': step, 'started': started, 'ended': ended} ORDER BY started) AS steps
    FROM runs
    WHERE night = $1 OR run_id IN (SELECT run_id FROM files WHERE landing_date = $1)
    GROUP BY run_id
    ORDER BY started"""


def _runs(tables: duckdb.DuckDBPyConnection, night: dt.date) -> tuple[NightRun, int, list[str]]:
    """The reported run, how many later runs of the night had nothing to do, and the runs that changed its records since."""
    rows = rows_of(tables, _RUNS, night)
    if not rows:
        raise UsageError(
            f"the night of {night} was never run: `millrace run --date {night}` runs it, `millrace status` lists those that were"
        )
    # A night may have been built by a rebuild alone. Then the rebuild is the reported run.
    own = [row for row in rows if row["night"] == night] or rows
    last = max((number for number, row in enumerate(own) if row["worked"]), default=len(own) - 1)
    reported = own[last]
    later = [f"{row['command']}, run {row['run_id']}" for row in rows if row not in own and row["started"] > reported["started"]]
    steps = [
        StepTimes(step["name"], (step["started"] - reported["started"]).total_seconds(), (step["ended"] - step["started"]).total_seconds())
        for step in reported["steps"]
    ]
    run = NightRun(
        reported["run_id"], reported["command"], reported["started"], reported["ended"], reported["failed"], reported["sources"], steps
    )
    return run, len(own) - 1 - last, later


# Records per source and date

_ACCOUNT = """
    SELECT landing_date, source, count(*) AS files, count(*) FILTER (status = 'unreadable') AS unreadable, sum(size)::BIGINT AS size,
        coalesce(sum(records), 0)::BIGINT AS records, coalesce(sum(accepted), 0)::BIGINT AS accepted,
        coalesce(sum(duplicates), 0)::BIGINT AS duplicates, coalesce(sum(rejected), 0)::BIGINT AS rejected,
        coalesce(sum(erased), 0)::BIGINT AS erased
    FROM files
    WHERE landing_date BETWEEN $1 AND $2
    GROUP BY ALL
    ORDER BY ALL"""
_LATE = """
    SELECT metric_date, source, numerator::BIGINT AS late
    FROM daily_metrics
    WHERE metric = 'late_rate' AND dimension = 'all' AND metric_date BETWEEN $1 AND $2"""
_ROWS_IN_TABLES = """
    SELECT source, 'accepted' AS kind, count(*) AS rows FROM events WHERE landing_date = $1 GROUP BY source
    UNION ALL SELECT source, 'duplicates', count(*) FROM duplicate_events WHERE landing_date = $1 GROUP BY source
    UNION ALL SELECT source, 'rejected', count(*) FROM rejected_events WHERE landing_date = $1 GROUP BY source"""


def _accounts(tables: duckdb.DuckDBPyConnection, first: dt.date, night: dt.date) -> dict[dt.date, dict[str, SourceCounts]]:
    late = {(row["metric_date"], row["source"]): row["late"] for row in rows_of(tables, _LATE, first, night)}
    rows = {(row["source"], row["kind"]): row["rows"] for row in rows_of(tables, _ROWS_IN_TABLES, night)}
    accounts: dict[dt.date, dict[str, SourceCounts]] = {}
    for row in rows_of(tables, _ACCOUNT, first, night):
        date, source = row.pop("landing_date"), row.pop("source")
        in_tables = {kind: rows.get((source, kind), 0) for kind in ("accepted", "duplicates", "rejected")} if date == night else {}
        accounts.setdefault(date, {})[source] = SourceCounts(**row, late=late.get((date, source), 0), in_tables=in_tables)
    return accounts


_HOURS = """
    SELECT files.source, files.landing_hour AS hour, count(*) AS files, count(*) FILTER (status = 'unreadable') AS unreadable,
        coalesce(any_value(arrived.events), 0) AS events, coalesce(any_value(late), 0) AS late
    FROM files LEFT JOIN (
        SELECT source, landing_hour, count(*) AS events, count(*) FILTER (list_contains(flags, 'late')) AS late
        FROM events WHERE landing_date = $1 GROUP BY ALL
    ) AS arrived ON files.source = arrived.source AND files.landing_hour IS NOT DISTINCT FROM arrived.landing_hour
    WHERE landing_date = $1
    GROUP BY ALL
    ORDER BY ALL"""


def _hours(tables: duckdb.DuckDBPyConnection, night: dt.date) -> dict[str, list[LandingHour]]:
    hours: dict[str, list[LandingHour]] = {}
    for row in rows_of(tables, _HOURS, night):
        hours.setdefault(row.pop("source"), []).append(LandingHour(**row))
    return hours


# Sessions

# A source whose events land days after they happen is reported of by the last date that its events of the night reach.
_DURATIONS = f"""
    WITH began AS (
        SELECT source, max(session_date) AS session_date FROM session_events WHERE landing_date = $1 AND session_date <= $1 GROUP BY source
    )
    SELECT source, session_date,
        CASE WHEN session_duration IS NULL THEN NULL WHEN session_duration < 1000 THEN 0
            ELSE 1 + least({BINS} - 1, floor((log10(session_duration) - 3) * {BINS_PER_DECADE}))::INTEGER END AS bin,
        count(*) AS sessions
    FROM sessions JOIN began USING (source, session_date)
    GROUP BY ALL"""
_METRICS = """
    SELECT source, metric, metric_date, value
    FROM daily_metrics
    WHERE dimension = 'all' AND metric_date BETWEEN $1 AND $2"""


def _sessions(tables: duckdb.DuckDBPyConnection, night: dt.date) -> dict[str, SessionDurations]:
    counted: dict[tuple[str, dt.date], dict[int | None, int]] = {}
    for row in rows_of(tables, _DURATIONS, night):
        counted.setdefault((row["source"], row["session_date"]), {})[row["bin"]] = row["sessions"]
    return {
        source: SessionDurations(began, [bins.get(number, 0) for number in range(BINS + 1)], bins.get(None, 0))
        for (source, began), bins in sorted(counted.items())
    }


def _metrics(tables: duckdb.DuckDBPyConnection, first: dt.date, night: dt.date) -> dict[tuple[str, str], dict[dt.date, float]]:
    metrics: dict[tuple[str, str], dict[dt.date, float]] = {}
    for row in rows_of(tables, _METRICS, first, night):
        metrics.setdefault((row["source"], row["metric"]), {})[row["metric_date"]] = row["value"]
    return metrics


# Refused records, unreadable files and failed checks

_REFUSED = "SELECT source, reason, count(*) AS records FROM rejected_events WHERE landing_date = $1 GROUP BY ALL ORDER BY ALL"
_REFUSALS = """
    SELECT source, reason, path, detail, count(*) AS records,
        arg_min(file || ':' || record || ':' || position, (file, record, position)) AS example
    FROM rejected_events
    WHERE landing_date = $1
    GROUP BY source, reason, path, detail
    ORDER BY records DESC, source, reason, path, detail
    LIMIT $2"""
_UNREADABLE = """
    SELECT file, size, error FROM files
    WHERE status = 'unreadable' AND (landing_date = $1 OR run_id = $2)
    ORDER BY file"""
_CHECKS = """
    SELECT "table", count(*) AS checks, count(*) FILTER (NOT passed) AS failed
    FROM quality_results WHERE run_id = $1 GROUP BY ALL ORDER BY ALL"""
_FAILURES = """
    SELECT severity, "table", source, expectation, observed, threshold, detail
    FROM quality_results WHERE run_id = $1 AND NOT passed
    ORDER BY severity, "table", expectation, source"""
