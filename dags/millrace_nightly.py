"""Every night at 02:30 UTC: run the night of the day before, then write its report.

Airflow needs nothing of Millrace but its command: `millrace_operator.py`, beside this file, says where it is looked for.

The night is the date of the run's logical date, so a date means the same here as in `millrace run --date`. A run that is triggered
by hand can be told another night, other folders and another environment as its parameters.

Nights that were missed, one after the other:

    airflow backfill create --dag-id millrace_nightly --from-date 2026-11-01 --to-date 2026-11-08T23:59 --max-active-runs 1

With MILLRACE_CATCHUP_FROM=2026-11-01 in its environment, the scheduler itself runs every night since that day.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import CronDataIntervalTimetable, dag, task
from airflow.sdk.exceptions import AirflowSkipException
from millrace_operator import ENVIRONMENT, FILES_UNREADABLE, LAKE, Millrace, optional

# A run that has no logical date (one that an asset or the API triggered) is for the last day that is over.
NIGHT = "{{ params.night or (dag_run.logical_date or dag_run.run_after - macros.timedelta(days=1)) | ds }}"
CATCHUP_FROM = os.environ.get("MILLRACE_CATCHUP_FROM")


@task
def every_file_was_read(exit_code: int) -> None:
    """Show at a glance whether the night lacks files: skipped when some could not be read, which stops nothing."""
    if exit_code == FILES_UNREADABLE:
        raise AirflowSkipException(
            "some landed files could not be read: `millrace status` names them; a repaired one is picked up by the next night"
        )


@dag(
    schedule=CronDataIntervalTimetable("30 2 * * *", timezone="UTC"),
    start_date=datetime.fromisoformat(CATCHUP_FROM or "2020-01-01").replace(tzinfo=UTC),
    catchup=CATCHUP_FROM is not None,
    # A lake has one writer at a time.
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=10)},
    params={
        "night": optional("night to run; by default that of the logical date", format="date"),
        "landing": optional("folder where files land; by default as configured"),
        "lake": LAKE,
        "env": ENVIRONMENT,
    },
    tags=["millrace"],
    doc_md=__doc__,
)
def millrace_nightly() -> None:
    """The night and its report."""
    run_night = Millrace(task_id="run_night", command="run", night=NIGHT, options=("landing", "lake", "env"))
    write_report = Millrace(task_id="write_report", command="report", night=NIGHT, options=("lake", "env"))
    run_night >> write_report
    every_file_was_read(run_night.output)


millrace_nightly()
