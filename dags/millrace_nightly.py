"""Every night at 02:30 UTC: wait for the files of the day before, at most two hours, run the night, then write its report.

Airflow needs nothing of Millrace but its command: `millrace_operator.py`, in this folder, says where it is looked for, and has the other
settings: folders, a Spark cluster, and who is notified of a failure and of a night that needs a look.

The night is the date of the run's logical date, so a date means the same here as in `millrace run --date`; but never a day that is
not over: a run that is triggered by hand takes the last finished day, UTC. Its parameters can name another night, other folders and
another environment.

Other DAGs can be scheduled on the tables: each is an asset, `millrace_events` and so on, which is updated when a night is done.

Nights that were missed, one after the other:

    airflow backfill create --dag-id millrace_nightly --from-date 2026-11-01 --to-date 2026-11-08T23:59 --max-active-runs 1

With MILLRACE_CATCHUP_FROM=2026-11-01 in its environment, the scheduler itself runs every night since that day.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import CronDataIntervalTimetable, Param, dag, task
from airflow.sdk.exceptions import AirflowSkipException
from millrace_operator import ENVIRONMENT, LAKE, NEEDS_A_LOOK, AwaitFiles, Millrace, callbacks, optional, run_night

# The last day that is over when the run is due is the latest night it can take: a run that is triggered by hand has the present moment
# as its logical date, whose files are still landing; one that an asset or the API has triggered may have none.
NIGHT = "{{ params.night or [dag_run.logical_date or dag_run.run_after, dag_run.run_after - macros.timedelta(days=1)] | min | ds }}"
CATCHUP_FROM = os.environ.get("MILLRACE_CATCHUP_FROM")


CALLBACKS = callbacks()


@task(on_skipped_callback=CALLBACKS)
def night_is_complete(exit_code: int) -> None:
    """Show at a glance whether the night lacks files: skipped when some could not be read or an expected source did not land."""
    if exit_code == NEEDS_A_LOOK:
        raise AirflowSkipException(
            "some landed files could not be read, or expected sources did not land: the log of run_night and `millrace status` name"
            " them; what is repaired or lands late is picked up by the next night"
        )


@dag(
    schedule=CronDataIntervalTimetable("30 2 * * *", timezone="UTC"),
    start_date=datetime.fromisoformat(CATCHUP_FROM or "2020-01-01").replace(tzinfo=UTC),
    catchup=CATCHUP_FROM is not None,
    # A lake has one writer at a time.
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=10), "on_failure_callback": CALLBACKS},
    params={
        "night": optional("night to run; by default that of the logical date, at the latest the last day that is over", format="date"),
        "landing": optional("folder or URL where files land; by default MILLRACE_LANDING, or as configured"),
        "lake": LAKE,
        "env": ENVIRONMENT,
        "wait_minutes": Param(120, type="integer", minimum=0, description="how long after 02:30 UTC the night waits for late files"),
        "look_seconds": Param(300, type="integer", minimum=1, description="how often it looks for them"),
    },
    tags=["millrace"],
    doc_md=__doc__,
)
def millrace_nightly() -> None:
    """The files of the night, the night, and its report."""
    await_files = AwaitFiles(task_id="await_files", night=NIGHT, options=("landing", "lake", "env"))
    night = run_night(NIGHT, ("landing", "lake", "env"))
    write_report = Millrace(task_id="write_report", command="report", night=NIGHT, options=("lake", "env"))
    await_files >> night >> write_report
    night_is_complete(night.output)


millrace_nightly()
