"""What `status` says of nights, hours and sources that did not land."""

from __future__ import annotations

from pathlib import Path

import pytest
from nights_before import FULL_DAY, TWO_WEEKS, configure, nights_before, publish_files, same_hours
from tiny_lake import NIGHT, publish

from jobs.commands import status
from jobs.settings import Settings


def missing_hours(capfd: pytest.CaptureFixture[str], settings: Settings) -> dict[str, str]:
    """Per night the missing hours of sunbird in the table of `status`."""
    capfd.readouterr()
    assert status.show(settings) == 0
    rows = [line.split() for line in capfd.readouterr().out.splitlines() if line.startswith("2026-") and " sunbird " in line]
    return {row[0]: " ".join(row[12:]) for row in rows}


def test_status_names_the_hours_that_are_missing_and_the_nights_that_a_source_did_not_send(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = configure(tmp_path)
    publish_files(settings, same_hours(nights_before(*range(2, 15)), {4: 200, 8: 200, 9: 200, 20: 199}) | {nights_before(1)[0]: {8: 10}})
    publish_files(settings, same_hours([*TWO_WEEKS, NIGHT], FULL_DAY), "contentsquare")

    shown = missing_hours(capfd, settings)

    assert (shown.pop("2026-11-19"), shown.pop("2026-11-20")) == ("04 09", "04 08 09")
    assert list(shown.values()) == [""] * 13


def test_status_shows_what_did_not_land_and_what_has_no_file_left(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    settings = configure(tmp_path)
    early, silent, late = nights_before(3, 2, 1)
    publish(settings.paths.lake, {}, night=nights_before(4)[0])  # run, and nothing had landed yet
    publish_files(settings, {early: {4: 5}, late: {4: 5}}, night=early)
    publish_files(settings, {early: {4: 5}}, "contentsquare", night=silent)
    capfd.readouterr()
    assert status.show(settings) == 0
    output = capfd.readouterr().out
    rows = {" ".join(line.split()[:3]) for line in output.splitlines() if line.startswith("2026-")}
    assert {f"{silent} sunbird 0", f"{silent} contentsquare 0", f"{late} contentsquare 0", f"{nights_before(4)[0]} (all sources)"} <= rows
    assert [line for line in output.splitlines() if line.startswith(("did not", "nothing", "no landed"))] == [
        f"did not land: contentsquare of {silent}",
        f"did not land: sunbird of {silent}",
        f"did not land: contentsquare of {late}",
        f"nothing has landed: {nights_before(4)[0]}",
        f"nothing has landed: {silent}",
        f"no landed file left: contentsquare of {early}, 5 records in the lake",
        f"no landed file left: sunbird of {early}, 5 records in the lake",
        f"no landed file left: sunbird of {late}, 5 records in the lake",
    ]
