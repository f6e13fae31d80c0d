"""Every night at 02:30 UTC: run the night of the day before, then write its report.

Airflow needs nothing of Millrace but its command, which lives in an environment of its own: the environment variable MILLRACE_BIN,
or the Airflow Variable of that name, says where; otherwise it is the `millrace` on the PATH.

The night is the date of the run's logical date, so a date means the same here as in `millrace run --date`. A run that is triggered
by hand can be told another night, other folders and another environment as its parameters.

Nights that were missed, one after the other:

    airflow backfill create --dag-id millrace_nightly --from-date 2026-11-01 --to-date 2026-11-08T23:59 --max-active-runs 1

With MILLRACE_CATCHUP_FROM=2026-11-01 in its environment, the scheduler itself runs every night since that day.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import BaseOperator, Context, CronDataIntervalTimetable, Param, Variable, dag, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

# A run that has no logical date (one that an asset or the API triggered) is for the last day that is over.
NIGHT = "{{ params.night or (dag_run.logical_date or dag_run.run_after - macros.timedelta(days=1)) | ds }}"
CATCHUP_FROM = os.environ.get("MILLRACE_CATCHUP_FROM")

# Exit codes of millrace. What fails again however often it is tried:
FINAL = {
    1: "a critical check failed, nothing was published: `millrace quality --date {night}` says which",
    2: "the call, the configuration or an input path is wrong: the line above names it and the remedy",
}
# What is done as well as it can be: the night is published, and somebody should look.
FILES_UNREADABLE = 3


class Millrace(BaseOperator):
    """Call a command of `millrace` for a night. What it says goes to the task's log; gives its exit code.

    A night gives the same tables however often it is run, so what may pass (a worker that died, a full disk) is tried again.
    """

    template_fields: Sequence[str] = ("night",)

    def __init__(self, *, command: str, options: Sequence[str], night: str = NIGHT, **kwargs: Any) -> None:
        """`options` names the parameters of the run that the command takes as options."""
        super().__init__(**kwargs)
        self.command = command
        self.options = options
        self.night = night

    @cached_property
    def process(self) -> SubprocessHook:
        """The process of `millrace`, Java and all."""
        return SubprocessHook()

    def execute(self, context: Context) -> int:
        """Call the command and wait for its end."""
        program = os.environ.get("MILLRACE_BIN") or Variable.get("MILLRACE_BIN", default="millrace")
        given = {option: context["params"][option] for option in self.options}
        call = [program, self.command, f"--date={self.night}", *(f"--{option}={value}" for option, value in given.items() if value)]
        try:
            # Relative paths are from the checkout, where this file stands.
            code = self.process.run_command(call, cwd=str(Path(__file__).parents[1])).exit_code
        except OSError as error:
            raise AirflowFailException(f"{program} cannot be called ({error.strerror}): let MILLRACE_BIN be its path") from error
        if code in FINAL:
            raise AirflowFailException(FINAL[code].format(night=self.night))
        if code not in (0, FILES_UNREADABLE):
            raise AirflowException(f"millrace {self.command} ended with exit code {code}")
        return code

    def on_kill(self) -> None:
        """Stop `millrace` and what it started."""
        self.process.send_sigterm()


@task
def every_file_was_read(exit_code: int) -> None:
    """Show at a glance whether the night lacks files: skipped when some could not be read, which stops nothing."""
    if exit_code == FILES_UNREADABLE:
        raise AirflowSkipException(
            "some landed files could not be read: `millrace status` names them; a repaired one is picked up by the next night"
        )


def optional(description: str, **schema: str) -> Param:
    """A parameter that may be left out."""
    return Param(None, type=["null", "string"], description=description, **schema)


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
        "lake": optional("folder of the Delta tables; by default as configured"),
        "env": optional("environment of conf/; by default local"),
    },
    tags=["millrace"],
    doc_md=__doc__,
)
def millrace_nightly() -> None:
    """The night and its report."""
    run_night = Millrace(task_id="run_night", command="run", options=("landing", "lake", "env"))
    write_report = Millrace(task_id="write_report", command="report", options=("lake", "env"))
    run_night >> write_report
    every_file_was_read(run_night.output)


millrace_nightly()
