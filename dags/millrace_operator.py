"""How Airflow calls `millrace`: as a command in an environment of its own, with each exit code taken for what it means.

The environment variable MILLRACE_BIN, or the Airflow Variable of that name, says where the command is; otherwise it is the `millrace`
on the PATH. MILLRACE_SUBMIT, if there is one, says how a night is submitted to a Spark cluster, such as `spark-submit --master
spark://master:7077`: Airflow's SparkSubmitOperator would take exit code 3 for a failure.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import Asset, BaseOperator, Context, Param, Variable
from airflow.sdk.exceptions import AirflowException, AirflowFailException

CHECKOUT = Path(__file__).parents[1]
# Exit codes of millrace after which another try fails, too.
FINAL = {
    1: "a critical check failed, nothing was published: `millrace quality` says which",
    2: "the call, the configuration or an input path is wrong: the line above names it and the remedy",
}
# The command was stopped by SIGTERM. It is tried again, as after all other codes that are not listed here.
STOPPED = 143
# The night is published, and something in it needs a look.
NEEDS_A_LOOK = 3


class Millrace(BaseOperator):
    """Call a command of `millrace`, for a night where it takes one. Its output goes to the task's log. Returns its exit code.

    A command gives the same tables however often it is called, so what may pass (a worker that died, another command that is writing
    the lake) is tried again.
    """

    template_fields: Sequence[str] = ("night",)

    def __init__(self, *, command: str, options: Sequence[str], night: str | None = None, **kwargs: Any) -> None:
        """`options` names the parameters of the run that the command takes as options."""
        super().__init__(**kwargs)
        self.command = command
        self.options = options
        self.night = night

    @cached_property
    def process(self) -> SubprocessHook:
        """The process of `millrace`, its workers and all."""
        return SubprocessHook()

    def execute(self, context: Context) -> int:
        """Call the command and wait for its end."""
        code = self.call(context)
        if code in FINAL:
            raise AirflowFailException(FINAL[code])
        if code not in (0, NEEDS_A_LOOK):
            stopped = ": it was stopped by SIGTERM, and goes on when it is called again" if code == STOPPED else ""
            raise AirflowException(f"millrace {self.command} ended with exit code {code}{stopped}")
        return code

    def call(self, context: Context) -> int:
        """Call the command; gives its exit code."""
        given = {"date": self.night} | {option: context["params"][option] for option in self.options}
        words = [*self.program(), *(f"--{option}={value}" for option, value in given.items() if value)]
        try:
            # Relative paths are from the checkout.
            return int(self.process.run_command(words, cwd=str(CHECKOUT)).exit_code)
        except OSError as error:
            raise AirflowFailException(f"{words[0]} cannot be called ({error.strerror}): let MILLRACE_BIN be its path") from error

    def program(self) -> list[str]:
        """The words before the options: `millrace run`, or how a night is submitted to a cluster."""
        submit = _setting("MILLRACE_SUBMIT")
        if self.command == "run" and submit:
            return [*shlex.split(submit), str(CHECKOUT / "jobs" / "night.py")]
        return [_setting("MILLRACE_BIN") or "millrace", self.command]

    def on_kill(self) -> None:
        """Stop `millrace` and what it started."""
        self.process.send_sigterm()


class AwaitFiles(Millrace):
    """Wait until all that usually lands of a night has landed, or until the deadline. While it waits, it takes no place of a worker."""

    template_fields: Sequence[str] = ("night",)

    def __init__(self, *, night: str, options: Sequence[str], **kwargs: Any) -> None:
        """The deadline and the time between two looks are the parameters `wait_minutes` and `look_seconds` of the run."""
        super().__init__(command="landed", night=night, options=options, **kwargs)

    def execute(self, context: Context) -> int:
        """Look at what has landed, and wait if something has not."""
        code = super().execute(context)
        params, due = context["params"], context["dag_run"].run_after
        deadline = due + timedelta(minutes=params["wait_minutes"])
        if code == NEEDS_A_LOOK and datetime.now(UTC) < deadline:
            self.defer(trigger=TimeDeltaTrigger(timedelta(seconds=params["look_seconds"])), method_name="look_again")
        if code == NEEDS_A_LOOK:
            self.log.warning("the deadline has passed: the night is run with what is there; the lines above name what has not landed")
        return code

    def look_again(self, context: Context, **_: Any) -> int:
        """Look once more, after a wait."""
        return self.execute(context)


def _setting(name: str) -> str | None:
    return os.environ.get(name) or Variable.get(name, default=None)


def optional(description: str, **schema: str) -> Param:
    """A parameter that may be left out."""
    return Param(None, type=["null", "string"], description=description, **schema)


# The tables that a night publishes. Other DAGs can be scheduled on them, such as with schedule=[Asset(name="millrace_sessions")].
TABLES = ("events", "sessions", "session_events", "workflow_summaries", "daily_metrics", "duplicate_events", "rejected_events", "files")
ASSETS = [Asset(name=f"millrace_{table}", uri=f"millrace://tables/{table}", group="millrace") for table in TABLES]

# The parameters of every DAG.
LAKE = optional("folder of the Delta tables; by default as configured")
ENVIRONMENT = optional("environment of conf/; by default local")
