"""Settings: `conf/base.yaml`, an environment over it, and what the call itself says."""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from jobs.errors import SettingsError
from schemas.events import EVENTS

ENVIRONMENTS = ("local", "spark", "cluster")


class Section(BaseModel):
    """A part of the configuration: every key is known, none changes after it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Paths(Section):
    """Where files land and where the tables are."""

    landing: Path
    lake: Path


class Ingest(Section):
    """How landed files are read."""

    nights_back: int = Field(ge=0)
    max_document_bytes: int = Field(gt=0)
    chunk_lines: int = Field(gt=0)
    tasks: int = Field(gt=0)
    task_bytes_minimum: int = Field(gt=0)
    task_bytes_maximum: int = Field(gt=0)


class Time(Section):
    """Which times are plausible."""

    client_past_days: int = Field(ge=0)
    client_future_hours: int = Field(ge=0)
    late_after_hours: int = Field(ge=0)


class Deduplication(Section):
    """How far back a copy is looked for."""

    window_days: int = Field(ge=0)


class Sessions(Section):
    """What holds a session together and what counts as time."""

    keyed_silence_hours: float = Field(gt=0)
    derived_silence_minutes: float = Field(gt=0)
    idle_seconds: float = Field(gt=0)
    overlong_hours: float = Field(gt=0)
    tab_tolerance_seconds: float = Field(ge=0)


class Workflows(Section):
    """What holds a workflow together and what counts as time. Other numbers than these make other summaries than Sunbird's own."""

    idle_seconds: float = Field(gt=0)
    break_minutes: float = Field(gt=0)
    cut_hours: float = Field(gt=0)


class Bound(Section):
    """What a number may be, and what happens when it is not; with neither end, it is not asked for."""

    minimum: float | None = None
    maximum: float | None = None
    severity: Literal["critical", "warning"] = "warning"

    @property
    def is_asked(self) -> bool:
        """Whether there is anything to keep to."""
        return self.minimum is not None or self.maximum is not None


class HourBound(Bound):
    """What the records of an hour may be, and how many hours may be otherwise."""

    hours: int = Field(ge=0)


class NullRates(Section):
    """Columns of `events` that should not lose their values, and by how much the share of nulls may rise."""

    columns: tuple[str, ...]
    rise: float = Field(ge=0, le=1)
    severity: Literal["critical", "warning"] = "warning"

    @field_validator("columns")
    @classmethod
    def _nulls_are_counted(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        for column in columns:
            if column not in EVENTS.names or column in EVENTS.partitioned_by or pa.types.is_nested(EVENTS[column].type):
                raise PydanticCustomError("column", "{column} is no column of events whose nulls are counted", {"column": column})
        return columns


class Past(Section):
    """Which nights a night is compared with."""

    weeks: int = Field(ge=0)
    weekdays_minimum: int = Field(ge=1)
    nights: int = Field(ge=1)
    nights_minimum: int = Field(ge=1)
    records_minimum: int = Field(ge=0)


class SourceQuality(Section):
    """What a night of a source is asked for."""

    # against bounds
    acceptance_rate: Bound
    duplicate_rate: Bound
    late_rate: Bound
    reported_mismatch_rate: Bound
    # against its own past
    past: Past
    landed_files: Bound
    missing_hours: Bound
    night_volume: Bound
    hour_volume: HourBound
    silent_hours: Bound
    null_rates: NullRates


class Quality(SourceQuality):
    """What a night is asked for, of every source and of those that are asked for something else."""

    pages: bool
    sources: dict[str, SourceQuality]

    def of(self, source: str) -> SourceQuality:
        """What a night of this source is asked for."""
        return self.sources.get(source, self)

    @model_validator(mode="before")
    @classmethod
    def _over_the_defaults(cls, given: Any) -> Any:
        """A source's section says only what differs."""
        if not isinstance(given, dict) or not isinstance(given.get("sources"), dict):
            return given
        common = {key: given[key] for key in SourceQuality.model_fields if key in given}
        sources = {name: _over(common, own) if isinstance(own, dict) else own for name, own in given["sources"].items()}
        return given | {"sources": sources}

    @field_validator("sources")
    @classmethod
    def _are_known(cls, sources: dict[str, SourceQuality]) -> dict[str, SourceQuality]:
        # Imports every source's mapping: only who names a source pays.
        from transforms.sources import SOURCES

        for name in sources:
            if name not in SOURCES:
                raise PydanticCustomError(
                    "source", "no source is called {name}, there are {known}", {"name": name, "known": ", ".join(sorted(SOURCES))}
                )
        return sources


class Maintain(Section):
    """What is kept for how long, and how large files should be."""

    # States of the lake that are younger than a week can always be read.
    history_days: int = Field(ge=7)
    raw_days: int = Field(ge=0)
    failed_runs_days: int = Field(ge=0)
    pages_days: int = Field(ge=0)
    target_bytes: int = Field(gt=0)


class Spark(Section):
    """The Spark session; a null master is left to spark-submit."""

    master: str | None
    driver_memory: str
    java_options: str
    key_tasks: int = Field(gt=0)
    options: dict[str, str | int | float | bool]


class Sail(Section):
    """The Sail session; without a number of processes, one for every processor."""

    processes: int | None = Field(gt=0)
    options: dict[str, str | int | float | bool]


class Settings(Section):
    """All settings of a run."""

    engine: Literal["spark", "sail"]
    paths: Paths
    ingest: Ingest
    time: Time
    deduplication: Deduplication
    sessions: Sessions
    workflows: Workflows
    quality: Quality
    maintain: Maintain
    spark: Spark
    sail: Sail

    def at(self, landing: Path | None = None, lake: Path | None = None) -> Settings:
        """These settings with other paths."""
        paths = Paths(landing=landing or self.paths.landing, lake=lake or self.paths.lake)
        return self.model_copy(update={"paths": paths})

    def with_java_options(self, options: str) -> Settings:
        """These settings with more options for Spark's JVM."""
        return self.model_copy(update={"spark": self.spark.model_copy(update={"java_options": f"{self.spark.java_options} {options}"})})


def load(environment: str = "local", file: Path | None = None) -> Settings:
    """Read the settings of an environment, or of a file, over the defaults.

    Raises SettingsError when a file cannot be read or a key or value is wrong.
    """
    folder = importlib.resources.files("conf")
    layers = [_parsed("base.yaml", (folder / "base.yaml").read_text())]
    if file is not None:
        try:
            layers.append(_parsed(str(file), file.read_text()))
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"the configuration {file} cannot be read ({_why(error)}): give --conf a YAML file") from None
    elif environment in ENVIRONMENTS:
        layers.append(_parsed(f"{environment}.yaml", (folder / f"{environment}.yaml").read_text()))
    else:
        raise SettingsError(f"no environment is called {environment!r}: --env takes {', '.join(ENVIRONMENTS)}")
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = _over(merged, layer)
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        raise SettingsError(_one_line(error, file)) from None


def _parsed(name: str, text: str) -> dict[str, Any]:
    try:
        parsed = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise SettingsError(f"the configuration {name} is no YAML{where}: mend it") from None
    if parsed is None:
        return {}
    if not isinstance(parsed, dict):
        raise SettingsError(f"the configuration {name} is no mapping of keys: see conf/base.yaml")
    return parsed


def _over(base: Mapping[str, Any], layer: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in layer.items():
        below = merged.get(key)
        merged[key] = _over(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _one_line(error: ValidationError, file: Path | None) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    where = f"the configuration {file}" if file else "the configuration"
    if first["type"] == "extra_forbidden":
        return f"{where} has the unknown key {key}: conf/base.yaml lists the keys"
    return f"{where}: {key} is wrong ({first['msg'].lower()}): see conf/base.yaml"


def _why(error: Exception) -> str:
    return error.strerror or "" if isinstance(error, OSError) else "it is no text"
