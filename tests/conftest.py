"""One session for the whole run, on Spark or on Sail, and one lake that is made from generated nights."""

from __future__ import annotations

import datetime as dt
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as tries

from jobs import settings as configuration
from jobs.settings import Settings

if TYPE_CHECKING:
    from ingested_files import ValidDocuments
    from pyspark.sql import SparkSession

# How long an example takes depends on what else the machine does, and says nothing of the code.
tries.register_profile("millrace", deadline=None, suppress_health_check=[HealthCheck.too_slow])
tries.load_profile("millrace")

NIGHTS = (dt.date(2026, 11, 18), dt.date(2026, 11, 19))
EVENTS = 2_000
# Per engine, the environment of one machine.
ENVIRONMENTS = {"spark": "spark", "sail": "local"}


# What starts the tests may ignore Ctrl-C, as a shell does for `command &`. The processes that tests interrupt must not inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--engine", choices=["spark", "sail"], default="spark", help="what computes in tests that need a session")


@pytest.fixture(scope="session")
def environment(request: pytest.FixtureRequest) -> str:
    """What `--env` takes for the engine of this run."""
    return ENVIRONMENTS[request.config.getoption("engine")]


@pytest.fixture(scope="session")
def spark(environment: str) -> Iterator[SparkSession]:
    """The session; whatever a test runs in this process, it runs on it."""
    from jobs.engine.spark_session import start

    session = start(configuration.load(environment))
    yield session
    session.stop()


@dataclass(frozen=True)
class Demo:
    """Two generated nights and the lake that they made."""

    landing: Path
    lake: Path
    nights: tuple[dt.date, ...] = NIGHTS


@pytest.fixture(scope="session")
def demo(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    from jobs.commands.run_nights import run
    from jobs.generator.generate import generate

    root = tmp_path_factory.mktemp("demo")
    made = Demo(root / "landing", root / "lake")
    for night in NIGHTS:
        generate(made.landing, night, events=EVENTS, seed=5, workers=1)
    assert run(configuration.load().at(made.landing, made.lake), list(NIGHTS), [], "run") == 0
    return made


@pytest.fixture(scope="session")
def demo_lake(demo: Demo) -> Path:
    return demo.lake


@pytest.fixture(scope="session")
def lake_of_weeks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of five weeks, with marts and checks."""
    import weeks_lake

    root = tmp_path_factory.mktemp("weeks") / "lake"
    weeks_lake.make(root)
    return root


@pytest.fixture(scope="session")
def site_of_weeks(lake_of_weeks: Path) -> Path:
    """The site of this lake."""
    from weeks_lake import settings_of

    from jobs.commands import site

    folder = lake_of_weeks.parent / "site"
    assert site.write(settings_of(lake_of_weeks), folder) == 0
    return folder


@pytest.fixture(scope="session")
def undamaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A landing zone and a lake of a few rows, of which tests damage copies."""
    from damaged_lakes import make

    root = tmp_path_factory.mktemp("undamaged")
    make(root)
    return root


@pytest.fixture
def lake_copy(undamaged: Path, tmp_path: Path) -> Path:
    """A copy of the undamaged lake, which the test may damage; the landing zone is beside it."""
    from damaged_lakes import copied

    return copied(undamaged, tmp_path)


@pytest.fixture(scope="session")
def valid_documents(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, ValidDocuments]:
    """Per source generated documents, every record of which is accepted."""
    from ingested_files import generate_valid_documents

    return generate_valid_documents(tmp_path_factory.mktemp("valid"))


@pytest.fixture(scope="session")
def generated_night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The landing zone of one generated night of about 2,000 records."""
    from generated_nights import FIRST

    from jobs.generator.generate import generate

    landing = tmp_path_factory.mktemp("generated-night")
    generate(landing, FIRST, 2_000)
    return landing


@pytest.fixture(scope="session")
def generated_week(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The landing zone of eight generated nights with many faults: most late or repeated events land among them, some do not."""
    from generated_nights import NIGHTS, date_of

    from jobs.generator.generate import generate

    landing = tmp_path_factory.mktemp("generated-week")
    for number in range(NIGHTS):
        generate(landing, date_of(number), 2_500, faults=0.12)
    return landing


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The local settings, with a landing zone and a lake of their own, and without pages of the checks."""
    (tmp_path / "landing").mkdir()
    return without_pages(configuration.load()).at(tmp_path / "landing", tmp_path / "lake")


def without_pages(settings: Settings) -> Settings:
    """Settings by which a night takes two seconds less."""
    return settings.model_copy(update={"quality": settings.quality.model_copy(update={"pages": False})})


def plain_environment() -> dict[str, str]:
    """The environment of another process: without the mark that a session on Sail leaves, by which Spark would not start there."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SPARK_CONNECT")}


@pytest.fixture
def without_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process was called by the name of the command alone, as messages show it."""
    monkeypatch.setattr(sys, "argv", ["millrace"])
