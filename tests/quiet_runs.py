"""A night, run in the process of the test, without lines of progress."""

from __future__ import annotations

import datetime as dt
from typing import Any

from jobs.console.progress import Progress
from jobs.engine.spark_session import Engine
from jobs.night import Outcome, run_night
from jobs.settings import Settings


def run_quietly(settings: Settings, night: dt.date, **options: Any) -> Outcome:
    quiet = Progress(quiet=True)
    with Engine(settings, quiet) as engine:
        return run_night(engine, settings, night, progress=quiet, **options)
