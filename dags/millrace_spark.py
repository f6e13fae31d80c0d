"""A night that is submitted to Spark through an Airflow connection, whose name is MILLRACE_SPARK_CONNECTION.

The connection is of type `spark`, with deploy mode `client`: in `cluster` mode the exit code of the night does not come back. Airflow's
provider reads `deploy-mode`, `spark-binary`, `queue` and `namespace` from its extra. These keys of the extra are passed to spark-submit,
too: `conf` (an object of Spark's properties), `archives`, `files` and `py-files` (lists with commas).
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import BaseHook, Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowNotFoundException
from millrace_operator import CHECKOUT, lineage_of, options_of, raise_for

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

# After this, spark-submit is killed. Airflow itself kills a task that it ends after five seconds; a worker that is stopped may wait.
STOP_SECONDS = 30


class SparkNight(SparkSubmitOperator):
    """Submit a night to Spark and wait for its end. Returns its exit code, which means what it means for `millrace run`."""

    template_fields: Sequence[str] = ("night", *SparkSubmitOperator.template_fields)

    def __init__(self, *, connection: str, night: str, options: Sequence[str], **kwargs: Any) -> None:
        """`connection` names the connection to Spark, and `options` the parameters of the run that the night takes as options."""
        # The driver ends with the worker, so a retry submits the night again.
        super().__init__(application=str(CHECKOUT / "jobs" / "night.py"), conn_id=connection, name="millrace", durable=False, **kwargs)
        self.night = night
        self.options = options

    def execute(self, context: Context) -> int:
        """Submit the night. Raises AirflowFailException if another try would fail, too, and AirflowException for the others."""
        self.configure(context)
        try:
            super().execute(context)
        except OSError as error:
            raise AirflowFailException(
                f"{error.filename} cannot be called ({error.strerror}): put Spark's bin folder on the PATH of Airflow's workers"
            ) from error
        except AirflowException:
            # The provider takes every exit code but 0 for a failure.
            if not self.exit_code:
                raise
        raise_for("run", self.exit_code or 0)
        return self.exit_code or 0

    def configure(self, context: Context) -> None:
        """Take the settings of spark-submit from the connection, and the night's options from the run's parameters."""
        try:
            extra = BaseHook.get_connection(self._conn_id).extra_dejson
        except AirflowNotFoundException as error:
            # The provider would submit to YARN.
            raise AirflowFailException(f"there is no connection {self._conn_id}, which MILLRACE_SPARK_CONNECTION names: add it") from error
        if extra.get("deploy-mode") == "cluster":
            raise AirflowFailException(f"connection {self._conn_id}: let deploy-mode be client, as cluster does not give the exit code")
        self.conf = extra.get("conf")
        self.files, self.py_files, self._archives = (extra.get(key) for key in ("files", "py-files", "archives"))
        self.application_args = options_of(context, self.options, self.night)

    @property
    def exit_code(self) -> int | None:
        """The exit code of spark-submit, which is that of the night; None if it was not called or has not ended."""
        process = self._hook and self._hook._submit_sp
        return process.returncode if process else None

    def on_kill(self) -> None:
        """Stop spark-submit, with SIGTERM first."""
        process = self._hook and self._hook._submit_sp
        if process:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
        super().on_kill()

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage:
        """The datasets of a night, for OpenLineage, which calls this."""
        return lineage_of(task_instance.get_template_context())
