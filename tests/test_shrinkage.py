"""A partition that is read again is compared with its own former content, without any history."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import pytest
from tiny_lake import NIGHT, RUN, frame, publish

from jobs import settings
from jobs.errors import SettingsError
from jobs.lake.new_state import NewState
from jobs.lake.table_changes import Change
from jobs.lake.table_files import write_partitioned
from jobs.lake.tables import Lake
from jobs.landing.zone import LandedFile, Partition
from jobs.quality import shrinkage
from jobs.quality.gate import Finding
from jobs.settings import Settings
from schemas.events import EVENTS

OTHER = NIGHT - dt.timedelta(days=1)
SUNBIRD = Partition(OTHER, "sunbird")


def configured(tmp_path: Path, text: str = "") -> Settings:
    conf = tmp_path / "conf.yaml"
    conf.write_text("{quality: {pages: false, " + text + "}}")
    return settings.load(file=conf).at(tmp_path / "landing", tmp_path / "lake")


def events(count: int, partition: Partition) -> list[dict[str, object]]:
    return [partition.values | {"landing_date": partition.landing_date, "event_id": f"e{number}"} for number in range(count)]


def read_again(
    given: Settings,
    before: int,
    after: int,
    *,
    accepted: bool = False,
    partition: Partition = SUNBIRD,
    unreadable: Sequence[LandedFile] = (),
) -> list[Finding]:
    """What is observed of a partition that held so many events and holds so many others in their place."""
    publish(given.paths.lake, {"events": [*events(before, partition), *events(100, Partition(NIGHT, partition.source))]})
    with Lake.writing(given.paths.lake, "a test") as lake:
        removed = [file for file in lake.files("events") if file.partition["landing_date"] == str(partition.landing_date)]
        added = write_partitioned(EVENTS, frame(EVENTS, events(after, partition)), lake.begin(RUN)) if after else []
        state = NewState(lake, {"events": Change(added, removed)})
        return list(shrinkage.findings(state, {partition}, given.quality, accepted=accepted, unreadable=unreadable))


@pytest.mark.parametrize(
    ("after", "severity", "minimum"),
    [(0, "critical", 0.5), (49, "critical", 0.5), (50, "warning", 0.9), (89, "warning", 0.9), (90, "warning", 0.9), (200, "warning", 0.9)],
)
def test_less_than_half_is_critical_and_less_than_nine_tenths_a_warning(tmp_path: Path, after: int, severity: str, minimum: float) -> None:
    (finding,) = read_again(configured(tmp_path), 100, after)
    assert (finding.severity, finding.minimum, finding.observed) == (severity, minimum, after / 100)
    assert (finding.table, finding.source) == ("events", "sunbird")
    assert finding.expectation == "accepted records of 2026-11-19, as a share of those before it was read again"


@pytest.mark.parametrize(("left", "severity"), [(40, "warning"), (15, "critical")])
def test_the_records_of_a_file_that_cannot_be_read_now_are_no_loss(tmp_path: Path, left: int, severity: str) -> None:
    given = configured(tmp_path)
    file = LandedFile(SUNBIRD, 7, "sunbird/a.json", 1, 1)
    of_files = [SUNBIRD.values | {"landing_date": OTHER, "file": name, "accepted": count} for name, count in ((file.file, 60), ("b", 40))]
    publish(given.paths.lake, {"files": of_files})
    (finding,) = read_again(given, 100, left, unreadable=[file])
    assert (finding.severity, finding.observed) == (severity, left / 40)


def test_a_loss_that_is_accepted_is_a_warning(tmp_path: Path) -> None:
    (finding,) = read_again(configured(tmp_path), 100, 10, accepted=True)
    assert (finding.severity, finding.minimum, finding.observed) == ("warning", 0.9, 0.1)


def test_a_partition_that_held_no_event_is_compared_with_nothing(tmp_path: Path) -> None:
    assert read_again(configured(tmp_path), 0, 10) == []


def test_each_source_has_its_own_limits(tmp_path: Path) -> None:
    given = configured(tmp_path, "sources: {sunbird: {shrinkage: {critical: 0.1}}, contentsquare: {shrinkage: {warning: null}}}")
    (finding,) = read_again(given, 100, 40)
    assert (finding.severity, finding.minimum) == ("warning", 0.9)
    (finding,) = read_again(given, 100, 40, partition=Partition(OTHER, "contentsquare"))
    assert (finding.severity, finding.minimum) == ("critical", 0.5)
    (finding,) = read_again(given, 100, 60, partition=Partition(OTHER - dt.timedelta(days=1), "contentsquare"))
    assert (finding.severity, finding.minimum) == ("warning", 0.5)  # which holds


def test_a_share_above_one_is_a_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"quality\.shrinkage\.critical is wrong"):
        configured(tmp_path, "shrinkage: {critical: 50}")
