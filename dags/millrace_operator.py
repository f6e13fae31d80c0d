"""How Airflow calls `millrace`: as a command in an environment of its own, with each exit code taken for what it means.

These settings are environment variables of Airflow or Airflow Variables of the same names:

- MILLRACE_BIN: where the command is; otherwise it is the `millrace` on the PATH.
- MILLRACE_LANDING, MILLRACE_LAKE, MILLRACE_ENV: defaults of the run's parameters; without them conf/ decides.
- MILLRACE_SPARK_CONNECTION: the id of a connection to a Spark cluster, to which nights are then submitted (millrace_spark.py).
- MILLRACE_NOTIFIER: the notifier for failures, and for nights with exit code 3: JSON with the class of a notifier of Airflow and its
  arguments, such as {"class": "airflow.providers.smtp.notifications.smtp.SmtpNotifier", "arguments": {"to": "data@example.com"}}.
"""

from __future__ import annotations

import copy
import json
import os
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import Asset, BaseNotifier, BaseOperator, Context, Param, Variable
from airflow.sdk.exceptions import AirflowException, AirflowFailException

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

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


def setting(name: str) -> str | None:
    """An environment variable, or the Airflow Variable of that name; None if neither is set."""
    return os.environ.get(name) or Variable.get(name, default=None) or None


def options_of(context: Context, names: Sequence[str], night: str | None) -> list[str]:
    """The options of a call: the night, and what the parameters of the run or the settings say of these names."""
    given = {"date": night} | {name: context["params"][name] or setting(f"MILLRACE_{name.upper()}") for name in names}
    # All tasks of a run take the same configuration.
    if "env" in names and not given["env"] and setting("MILLRACE_SPARK_CONNECTION"):
        given["env"] = "cluster"
    return [f"--{name}={value}" for name, value in given.items() if value]


def raise_for(command: str, code: int) -> None:
    """Raise what makes Airflow treat an exit code as what it means: fail at once, or try again. 0 and 3 are done."""
    if code in FINAL:
        raise AirflowFailException(FINAL[code])
    if code not in (0, NEEDS_A_LOOK):
        stopped = ": it was stopped by SIGTERM, and goes on when it is called again" if code == STOPPED else ""
        raise AirflowException(f"millrace {command} ended with exit code {code}{stopped}")


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
        if self.command == "run" and setting("MILLRACE_SPARK_CONNECTION"):
            raise AirflowFailException(
                "MILLRACE_SPARK_CONNECTION names a connection, and Airflow's Spark provider is missing:"
                " install apache-airflow-providers-apache-spark"
            )
        words = [setting("MILLRACE_BIN") or "millrace", self.command, *options_of(context, self.options, self.night)]
        try:
            # Relative paths are from the checkout.
            code = int(self.process.run_command(words, cwd=str(CHECKOUT)).exit_code)
        except OSError as error:
            raise AirflowFailException(f"{words[0]} cannot be called ({error.strerror}): let MILLRACE_BIN be its path") from error
        raise_for(self.command, code)
        return code

    def on_kill(self) -> None:
        """Stop `millrace` and what it started."""
        self.process.send_sigterm()

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage | None:
        """What a night reads and writes, for OpenLineage; only its provider calls this."""
        return lineage_of(task_instance.get_template_context()) if self.outlets else None


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


def run_night(night: str, options: Sequence[str]) -> BaseOperator:
    """The task that runs the night: here, or on the Spark cluster of MILLRACE_SPARK_CONNECTION."""
    task: dict[str, Any] = {"task_id": "run_night", "night": night, "options": options, "outlets": ASSETS}
    connection = setting("MILLRACE_SPARK_CONNECTION")
    if connection is None:
        return Millrace(command="run", **task)
    try:
        from millrace_spark import SparkNight
    except ModuleNotFoundError:
        # The task fails and names the provider. A DAG that cannot be imported would miss its nights, and nobody would be notified.
        return Millrace(command="run", **task)
    return SparkNight(connection=connection, **task)


def callbacks() -> list[Callable[[Context], None]]:
    """The notifier of MILLRACE_NOTIFIER, if there is one, as callbacks of tasks. Raises AirflowException when it cannot be made."""
    text = setting("MILLRACE_NOTIFIER")
    if text is None:
        return []
    try:
        configured: Mapping[str, Any] = json.loads(text)
        notifier: BaseNotifier = pkgutil.resolve_name(configured["class"])(**configured.get("arguments", {}))
    except (AttributeError, ImportError, KeyError, TypeError, ValueError) as error:
        raise AirflowException(
            f'MILLRACE_NOTIFIER names no notifier ({type(error).__name__}: {error}): write {{"class": "module.Class", "arguments": {{…}}}}'
        ) from error

    def notify(context: Context) -> None:
        # A notifier fills in its own templates when it is called.
        copy.deepcopy(notifier)(context)

    return [notify]


def lineage_of(context: Context) -> OperatorLineage:
    """The landing zone as input, and the tables as outputs. What neither parameters nor settings place has its name alone."""
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.providers.openlineage.extractors import OperatorLineage

    def dataset(option: str, table: str | None = None) -> Dataset:
        folder = context["params"].get(option) or setting(f"MILLRACE_{option.upper()}")
        if folder is None:
            return Dataset("millrace", table or option)
        url = urlsplit(folder)
        path = url.path.strip("/") if url.scheme else str((CHECKOUT / folder).resolve())
        return Dataset(f"{url.scheme}://{url.netloc}" if url.scheme else "file", f"{path}/{table}" if table else path)

    return OperatorLineage(inputs=[dataset("landing")], outputs=[dataset("lake", table) for table in TABLES])


def optional(description: str, **schema: str) -> Param:
    """A parameter that may be left out."""
    return Param(None, type=["null", "string"], description=description, **schema)


# The tables that a night publishes. Other DAGs can be scheduled on them, such as with schedule=[Asset(name="millrace_sessions")].
TABLES = ("events", "sessions", "session_events", "workflow_summaries", "daily_metrics", "duplicate_events", "rejected_events", "files")
ASSETS = [Asset(name=f"millrace_{table}", uri=f"millrace://tables/{table}", group="millrace") for table in TABLES]

# The parameters of every DAG.
LAKE = optional("folder or URL of the Delta tables; by default MILLRACE_LAKE, or as configured")
ENVIRONMENT = optional("environment of conf/; by default MILLRACE_ENV; else cluster with MILLRACE_SPARK_CONNECTION, or local")
