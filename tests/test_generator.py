"""Generated nights: the same every time, of the size and with the share of faults that the parameters say."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from generated_nights import DAY_MS, FIRST, date_of, fingerprints, read_records, read_records_once, truth_by_transforms

from jobs.generator.arrivals import Parameters, arrivals
from jobs.generator.formats import FORMATS
from jobs.generator.generate import generate, truth

# --- the same every time


def test_a_night_is_the_same_whatever_other_nights_there_are(generated_week: Path, tmp_path: Path) -> None:
    generate(tmp_path, date_of(4), 2_500, faults=0.12)

    alone = fingerprints(tmp_path)
    assert alone == {name: sha256 for name, sha256 in fingerprints(generated_week).items() if str(date_of(4)) in name}

    generate(tmp_path, date_of(4), 2_500, faults=0.12)

    assert fingerprints(tmp_path) == alone


def test_a_night_is_the_same_by_any_number_of_workers(generated_night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["jobs.generator.generate"], "_WORTH_A_POOL", 0)

    generate(tmp_path, FIRST, 2_000, workers=2)

    assert fingerprints(tmp_path) == fingerprints(generated_night)


def test_another_seed_is_another_night(generated_night: Path, tmp_path: Path) -> None:
    generate(tmp_path, FIRST, 2_000, seed=2)

    before = set(read_records_once(generated_night, "sunbird")[0]["event_id"].drop_null().to_pylist())
    assert before.isdisjoint(read_records(tmp_path, "sunbird")[0]["event_id"].drop_null().to_pylist())


def test_generating_a_night_again_replaces_its_partitions_of_these_sources_alone(tmp_path: Path) -> None:
    generate(tmp_path, FIRST, 900)
    generate(tmp_path, date_of(1), 900)

    stale = tmp_path / "sunbird" / f"date={FIRST}" / "hour=00" / "part-00099.json"
    stale.parent.mkdir(exist_ok=True)
    stale.write_bytes(b"{}")
    before = fingerprints(tmp_path)

    generate(tmp_path, FIRST, 300, ["sunbird"])

    after = fingerprints(tmp_path)
    assert not stale.exists()
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert {name.partition("/hour=")[0] for name in changed} == {f"sunbird/date={FIRST}", f"_truth/{FIRST}.json"}
    assert {source: truth_by_transforms(tmp_path, source) for source in FORMATS} == truth(tmp_path, FIRST, date_of(1)).sources


def test_an_unknown_source_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such source: sunbeam"):
        generate(tmp_path, FIRST, 100, ["sunbird", "sunbeam"])


# --- how much


@pytest.mark.parametrize("events", [500, 2_000, 20_000])
def test_about_as_many_records_arrive_as_the_parameters_say(events: int) -> None:
    records = [len(arrivals(source, Parameters(3, events, 0.03), 20_777)) for source in FORMATS.values()]

    assert records == [pytest.approx(events, rel=0.12)] * len(FORMATS)


def test_a_third_of_the_faults_are_late_a_third_repeated_and_a_third_bad() -> None:
    parameters, day = Parameters(seed=1, events=60_000, faults=0.09), 20_777
    for source in FORMATS.values():
        rows = arrivals(source, parameters, day)
        copies = len(rows) - int((rows.bad > 0).sum()) - len(np.unique(rows.bits[rows.bad == 0]))
        assert (rows.bad > 0).mean() == pytest.approx(0.03, rel=0.1)
        # Those that repeat an event of an earlier night are not seen here.
        assert 0.01 < copies / len(rows) < 0.03
        assert ((rows.arrival - rows.sent) >= DAY_MS).mean() == pytest.approx(0.04, rel=0.25)


def test_without_faults_nothing_is_late_repeated_or_bad() -> None:
    for source in FORMATS.values():
        rows = arrivals(source, Parameters(seed=1, events=5_000, faults=0), 20_777)
        assert not rows.bad.any()
        assert len(np.unique(rows.bits)) == len(rows)
        assert (rows.arrival == rows.sent).all()


def test_a_night_without_events_has_no_files(tmp_path: Path) -> None:
    truth = generate(tmp_path, FIRST, 0)

    assert (truth.total.files, truth.total.records) == (0, 0)
    assert [name for name in fingerprints(tmp_path) if "hour=" in name] == []


def test_a_busy_hour_has_several_files() -> None:
    rows = arrivals(FORMATS["contentsquare"], Parameters(seed=1, events=400_000, faults=0.03), 20_777)

    files = [len(np.unique(rows.file[rows.hour == hour])) for hour in range(24)]
    assert min(files) == 1
    assert max(files) > 2


def test_more_arrives_in_the_evening_than_in_the_small_hours() -> None:
    rows = arrivals(FORMATS["contentsquare"], Parameters(seed=1, events=20_000, faults=0.03), 20_777)

    per_hour = np.bincount(rows.hour, minlength=24)
    assert per_hour[18:22].sum() > 3 * per_hour[1:5].sum()
