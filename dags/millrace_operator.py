"""How Airflow calls `millrace`: as a command in an environment of its own, with each exit code taken for what it means.

The environment variable MILLRACE_BIN, or the Airflow Variable of that name, says where the command is; otherwise it is the `millrace`
on the PATH.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import Asset, BaseOperator, Context, Param, Variable
from airflow.sdk.exceptions import AirflowException, AirflowFailException

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
        program = os.environ.get("MILLRACE_BIN") or Variable.get("MILLRACE_BIN", default="millrace")
        given = {"date": self.night} | {option: context["params"][option] for option in self.options}
        call = [program, self.command, *(f"--{option}={value}" for option, value in given.items() if value)]
        try:
            # Relative paths are from the checkout, where this file stands.
            code = self.process.run_command(call, cwd=str(Path(__file__).parents[1])).exit_code
        except OSError as error:
            raise AirflowFailException(f"{program} cannot be called ({error.strerror}): let MILLRACE_BIN be its path") from error
        if code in FINAL:
            raise AirflowFailException(FINAL[code])
        if code not in (0, NEEDS_A_LOOK):
            stopped = ": it was stopped by SIGTERM, and goes on when it is called again" if code == STOPPED else ""
            raise AirflowException(f"millrace {self.command} ended with exit code {code}{stopped}")
        return code

    def on_kill(self) -> None:
        """Stop `millrace` and what it started."""
        self.process.send_sigterm()


def optional(description: str, **schema: str) -> Param:
    """A parameter that may be left out."""
    return Param(None, type=["null", "string"], description=description, **schema)


# The tables that a night publishes. Other DAGs can be scheduled on them, such as with schedule=[Asset(name="millrace_sessions")].
TABLES = ("events", "sessions", "session_events", "workflow_summaries", "daily_metrics", "duplicate_events", "rejected_events", "files")
ASSETS = [Asset(name=f"millrace_{table}", uri=f"millrace://tables/{table}", group="millrace") for table in TABLES]

# The parameters of every DAG.
LAKE = optional("folder of the Delta tables; by default as configured")
ENVIRONMENT = optional("environment of conf/; by default local")
