"""Every Sunday at 05:00 UTC: compaction, retention and vacuum of the lake.

While a night is writing the lake, this waits: it is tried again every half hour.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import CronTriggerTimetable, dag
from millrace_operator import ENVIRONMENT, LAKE, Millrace, callbacks


@dag(
    schedule=CronTriggerTimetable("0 5 * * 0", timezone="UTC"),
    start_date=datetime(2020, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 6, "retry_delay": timedelta(minutes=30), "on_failure_callback": callbacks()},
    params={"lake": LAKE, "env": ENVIRONMENT},
    tags=["millrace"],
    doc_md=__doc__,
)
def millrace_maintenance() -> None:
    """The lake's maintenance."""
    Millrace(task_id="maintain", command="maintain", options=("lake", "env"))


millrace_maintenance()
