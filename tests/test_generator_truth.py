"""The truth that the generator tells about its nights is exactly what the transforms make of the landed files."""

from __future__ import annotations

import shutil
from pathlib import Path

import orjson
import pytest
from generated_nights import FIRST, NIGHTS, date_of, truth_by_transforms

from jobs.generator.arrivals import Parameters
from jobs.generator.formats import FORMATS
from jobs.generator.generate import generate, truth
from jobs.generator.truth import Truth


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize(("first", "last"), [(0, NIGHTS - 1), (0, 0), (3, 5)])
def test_the_truth_of_some_nights_is_what_the_transforms_make_of_these_nights_alone(
    generated_week: Path, source: str, first: int, last: int, tmp_path: Path
) -> None:
    for number in range(first, last + 1):
        partition = Path(source, f"date={date_of(number)}")
        shutil.copytree(generated_week / partition, tmp_path / partition)

    assert truth_by_transforms(tmp_path, source) == truth(generated_week, date_of(first), date_of(last)).sources[source]


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("events", [30, 400])
def test_the_truth_of_a_small_night_is_exact(source: str, events: int, tmp_path: Path) -> None:
    expected = generate(tmp_path, FIRST, events, [source], seed=8)

    assert truth_by_transforms(tmp_path, source) == expected.sources[source]


def test_nights_of_different_sizes_seeds_and_faults_have_an_exact_truth(tmp_path: Path) -> None:
    for number, (events, seed, faults) in enumerate([(200, 1, 0.03), (3_000, 1, 0.3), (900, 2, 0.0), (900, 1, 0.9)]):
        generate(tmp_path, date_of(number), events, seed=seed, faults=faults)

    expected = truth(tmp_path, date_of(0), date_of(3))

    assert {source: truth_by_transforms(tmp_path, source) for source in FORMATS} == expected.sources


def test_the_truths_of_single_nights_add_up_except_for_copies_and_sessions_over_midnight(generated_week: Path) -> None:
    nights = [truth(generated_week, date_of(number), date_of(number)).total for number in range(NIGHTS)]
    all_nights = truth(generated_week, date_of(0), date_of(NIGHTS - 1)).total

    for count in ("files", "records", "rejected", "blank", "empty"):
        assert getattr(all_nights, count) == sum(getattr(night, count) for night in nights)
    assert all_nights.accepted + all_nights.duplicates == sum(night.accepted + night.duplicates for night in nights)
    # Alone, a night counts a copy of an earlier night's event as an event, and a session over midnight as its own.
    assert all_nights.duplicates > sum(night.duplicates for night in nights)
    assert all_nights.sessions.sessions < sum(night.sessions.sessions for night in nights)


def test_the_total_is_the_sum_of_the_sources(generated_week: Path) -> None:
    all_nights = truth(generated_week, date_of(0), date_of(NIGHTS - 1))

    assert all_nights.total.records == sum(part.records for part in all_nights.sources.values())
    assert all_nights.total.sessions.timespent == sum(part.sessions.timespent for part in all_nights.sources.values())
    assert all_nights.total.reasons["invalid_json"] == sum(part.reasons["invalid_json"] for part in all_nights.sources.values())


def test_the_truth_of_a_night_is_written_to_the_landing_zone(generated_night: Path) -> None:
    written = orjson.loads((generated_night / "_truth" / f"{FIRST}.json").read_bytes())
    assert Truth.from_json({name: written[name] for name in ("first", "last", "total", "sources")}) == truth(generated_night, FIRST, FIRST)


def test_the_truth_of_planned_nights_is_known_before_they_are_written(generated_night: Path) -> None:
    shares = {"sunbird": 800, "contentsquare": 600, "activity_stream": 400, "homepagevisit": 200}
    planned = {FIRST: {source: Parameters(seed=1, events=events, faults=0.03) for source, events in shares.items()}}
    assert truth(planned, FIRST, FIRST) == truth(generated_night, FIRST, FIRST)


def test_the_truth_of_nights_that_were_not_generated_is_empty(generated_night: Path) -> None:
    no_nights = truth(generated_night, date_of(1), date_of(9))

    assert (no_nights.sources, no_nights.total.records) == ({}, 0)
