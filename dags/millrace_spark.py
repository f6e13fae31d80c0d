"""Nights on a Spark cluster, by Airflow's SparkSubmitOperator.

MILLRACE_SPARK_CONNECTION names a connection of type spark: the master, and how `spark-submit` is called. MILLRACE_SPARK_SUBMIT, an
environment variable or an Airflow Variable, has more of the operator's arguments, as JSON: {"py_files": "/opt/millrace/millrace.zip",
"archives": "/opt/millrace/environment.tar.gz#environment", "conf": {"spark.pyspark.python": "./environment/bin/python"}}.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException
from millrace_operator import CHECKOUT, lineage_of, options_of, raise_for, setting

# The hook of the operator raises one error for all exit codes but 0. This is how it names the code.
_EXIT_CODE = re.compile(r"Error code is: (\d+)")


class SubmitNight(SparkSubmitOperator):
    """Submit a night. Its driver's output goes to the task's log. Returns the exit code, as `Millrace` does."""

    template_fields: Sequence[str] = (*SparkSubmitOperator.template_fields, "night")

    def __init__(self, *, night: str, options: Sequence[str], **kwargs: Any) -> None:
        """`options` names the parameters of the run that the night takes as options."""
        arguments = {"name": "millrace", **_arguments(), **kwargs}
        super().__init__(application=str(CHECKOUT / "jobs" / "night.py"), **arguments)
        self.night = night
        self.options = options

    def execute(self, context: Context) -> int:
        """Submit the night and wait for its end."""
        options = options_of(context, self.options, self.night)
        # Without an environment, the night would take the engine of this machine's configuration.
        self.application_args = options if any(option.startswith("--env=") for option in options) else [*options, "--env=cluster"]
        code = 0
        try:
            super().execute(context)
        except AirflowException as error:
            named = _EXIT_CODE.search(str(error))
            if named is None:
                raise
            code = int(named[1])
        raise_for("run", code)
        return code

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """What the night reads and writes, for OpenLineage; only its provider calls this."""
        return lineage_of(task_instance.get_template_context(), bool(self.outlets))


def _arguments() -> dict[str, Any]:
    """The arguments of MILLRACE_SPARK_SUBMIT. Raises AirflowException when it is no JSON object."""
    text = setting("MILLRACE_SPARK_SUBMIT") or "{}"
    try:
        return dict(json.loads(text))
    except (TypeError, ValueError) as error:
        raise AirflowException(f"MILLRACE_SPARK_SUBMIT is no JSON object ({error}): write the operator's arguments in one") from error
