"""Erasure and access: no byte of a person is left, none comes back, and nobody else's rows change."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.compute as pc
import pytest
import random_nights
import stored_bytes
from command_line import call_millrace
from conftest import without_pages
from lakes import contents, copied
from pyspark.sql import SparkSession
from quiet_runs import run_quietly
from random_nights import NIGHTS

from jobs import maintain
from jobs import settings as configuration
from jobs.commands import named_people, run_nights, verify
from jobs.errors import UsageError
from jobs.lake.tables import Lake
from jobs.people import erase, export
from jobs.settings import Settings
from transforms.privacy.people import People
from transforms.privacy.pseudonyms import pseudonym

USER = "sunbird-3"
OTHER = "sunbird-1"
DEVICE = "contentsquare-2"
AT_ONCE = maintain.Scope(compacts=False, keeps_history=False)
REFUSED = [b'{"eid":"START","actor":{"id":"sunbird-3"}}', b"no json: sunbird-3 was here", b'{"eid":"START","actor":{"id":"sunbird-1"}}']


# --- given: a lake of four nights of four sources, with refused records and repeats; and the same without two people


@pytest.fixture(scope="module")
def four_nights(spark: SparkSession, environment: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    root = tmp_path_factory.mktemp("four-nights")
    settings = without_pages(configuration.load(environment)).at(root / "landing", root / "lake")
    landed = random_nights.landed_files(Random(7), people=5)
    for path, documents in landed.items():
        random_nights.write(settings.paths.landing, path, documents)
    # A device that two people use, and a record of another person that repeats the id of an event of the first.
    shared = sunbird_document(landed, USER)
    common = [event(shared, person, "common-1", did=f"phone-of-{person}") for person in (USER, OTHER)]
    land(settings, "shared.jsonl", event(shared, OTHER, "shared-1", did=USER), *common)
    refused = settings.paths.landing / "sunbird" / f"date={NIGHTS[1]}" / "hour=20" / "refused.jsonl"
    refused.parent.mkdir(parents=True, exist_ok=True)
    refused.write_bytes(b"\n".join(REFUSED))
    for night in NIGHTS:
        run_quietly(settings, night)
    return settings


@pytest.fixture(scope="module")
def erased(four_nights: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = copied(four_nights, tmp_path_factory.mktemp("erased"))
    for folder in ("_quality/2026-11-20", "_reports", "_damaged/1"):
        (settings.paths.lake / folder).mkdir(parents=True)
        (settings.paths.lake / folder / "page.html").write_text(f"<td>{USER}</td>")
        (settings.paths.lake / folder / "other.html").write_text("<td>sunbird-33</td>")
    assert erase.run(settings, {**people(settings, "sunbird", users=[USER]), **people(settings, "contentsquare", devices=[DEVICE])}) == 0
    return settings


@pytest.fixture
def lake_copy_of_erased(erased: Settings, tmp_path: Path) -> Settings:
    return copied(erased, tmp_path)


def sunbird_document(landed: random_nights.Landed, person: str) -> dict[str, Any]:
    """The first event of a person that lands only once, with a device."""
    for path, documents in sorted(landed.items()):
        for document in documents:
            if path.parts[0] == "sunbird" and document["actor"]["id"] == person and "did" in document["context"]:
                return document
    raise AssertionError(person)


def event(like: dict[str, Any], user: str, mid: str, did: str) -> dict[str, Any]:
    return like | {"mid": mid, "actor": {"id": user, "type": "User"}, "context": like["context"] | {"did": did, "sid": f"sid-of-{user}"}}


def land(settings: Settings, name: str, *documents: dict[str, Any], date: dt.date = NIGHTS[-1]) -> None:
    random_nights.write(settings.paths.landing, Path("sunbird", f"date={date}", "hour=23", name), list(documents))


def people(
    settings: Settings, source: str, users: tuple[str, ...] | list[str] = (), devices: tuple[str, ...] | list[str] = ()
) -> dict[str, People]:
    return named_people.of_call(settings, source, users, devices)


def files(settings: Settings) -> dict[str, dict[str, Any]]:
    return {row["file"]: row for row in Lake.open(settings.paths.lake).arrow("files").to_pylist()}


# --- gone, and the rest as if they had never landed


def test_an_erased_lake_is_what_a_rebuild_makes_of_the_landing_zone(four_nights: Settings, lake_copy_of_erased: Settings) -> None:
    before, after = contents(four_nights.paths.lake), contents(lake_copy_of_erased.paths.lake)
    assert run_nights.rebuild(lake_copy_of_erased, None, everything=True) == 0
    rebuilt = contents(lake_copy_of_erased.paths.lake)
    for table, rows in after.items():
        assert rows == rebuilt[table], table
    for table in ("events", "duplicate_events", "rejected_events", "sessions", "workflow_summaries", "daily_metrics"):
        assert before[table] != after[table], table


def test_no_row_of_anyone_else_is_removed(four_nights: Settings, erased: Settings) -> None:
    before, after = contents(four_nights.paths.lake), contents(erased.paths.lake)
    for table in ("events", "rejected_events"):
        others = [row for row in before[table] if USER not in row and DEVICE not in row]
        assert set(others) <= set(after[table]), table
    # The copy of another person is the event now.
    moved = list(map(json.loads, set(after["events"]) - set(before["events"])))
    assert [(row["user_id"], row["device_id"]) for row in moved] == [(OTHER, f"phone-of-{OTHER}")]


def test_the_account_is_balanced(four_nights: Settings, erased: Settings) -> None:
    before, after = files(four_nights), files(erased)
    assert all(row["records"] == row["accepted"] + row["duplicates"] + row["rejected"] + row["erased"] for row in after.values())
    assert {name: row["records"] for name, row in before.items()} == {name: row["records"] for name, row in after.items()}
    refused = f"sunbird/date={NIGHTS[1]}/hour=20/refused.jsonl"
    assert (after[refused]["rejected"], after[refused]["erased"]) == (1, 2)
    assert verify.examine(erased.paths.lake, erased.paths.landing, deep=True).is_clean


def test_after_a_vacuum_at_once_no_byte_of_the_lake_has_the_id(four_nights: Settings, lake_copy_of_erased: Settings) -> None:
    gone = [USER, DEVICE]
    assert set(stored_bytes.found(four_nights.paths.lake, gone)) == set(gone)
    assert maintain.run(lake_copy_of_erased, NIGHTS[-1], AT_ONCE) == 0
    # The devices of another source have the names of their users.
    found = stored_bytes.found(lake_copy_of_erased.paths.lake, [f"{USER}-", f'"{USER}"', f">{USER}<", DEVICE, OTHER])
    assert set(found) == {OTHER}
    assert verify.examine(lake_copy_of_erased.paths.lake, lake_copy_of_erased.paths.landing, deep=True).is_clean


def test_pages_that_name_the_person_and_copies_of_tables_are_deleted(erased: Settings) -> None:
    pages = {path.relative_to(erased.paths.lake).as_posix() for path in erased.paths.lake.rglob("*.html")}
    assert pages == {"_quality/2026-11-20/other.html", "_reports/other.html"}


# --- and does not come back


def test_what_lands_of_an_erased_person_later_is_held_back(lake_copy_of_erased: Settings) -> None:
    settings = lake_copy_of_erased
    before = contents(settings.paths.lake)
    like = json.loads((settings.paths.landing / "sunbird" / f"date={NIGHTS[-1]}" / "hour=23" / "shared.jsonl").read_text().splitlines()[0])
    land(settings, "later.jsonl", event(like, USER, "later-1", did="another"), event(like, OTHER, "later-2", did="another"))
    later = settings.paths.landing / "sunbird" / f"date={NIGHTS[-1]}" / "hour=23" / "later.jsonl"
    later.write_bytes(later.read_bytes() + b"".join(line + b"\n" for line in REFUSED))
    run_quietly(settings, NIGHTS[-1])
    row = files(settings)[f"sunbird/date={NIGHTS[-1]}/hour=23/later.jsonl"]
    assert (row["records"], row["accepted"], row["rejected"], row["erased"]) == (5, 1, 1, 3)
    added = [json.loads(row) for row in set(contents(settings.paths.lake)["events"]) - set(before["events"])]
    assert {(row["user_id"], row["event_id"]) for row in added} == {(OTHER, "later-2")}
    assert verify.examine(settings.paths.lake, settings.paths.landing, deep=True).is_clean


def test_to_erase_again_finds_nothing_and_changes_nothing(lake_copy_of_erased: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(lake_copy_of_erased.paths.lake)
    assert erase.run(lake_copy_of_erased, people(lake_copy_of_erased, "sunbird", users=[USER])) == 3
    assert "not found: 1 of 1 ids had no row; records of them that land later are held back" in capsys.readouterr().out
    assert contents(lake_copy_of_erased.paths.lake) == before


def test_the_record_of_an_erasure_has_no_id(erased: Settings) -> None:
    rows = Lake.open(erased.paths.lake).arrow("erasures").to_pylist()
    assert {(row["source"], row["kind"]) for row in rows} == {("sunbird", "user"), ("contentsquare", "device")}
    assert all(len(row["id_hash"]) == 64 and len(row["salt"]) == 64 for row in rows)
    assert len({row["salt"] for row in rows}) == 1


# --- devices, pseudonyms, short ids, closed sessions


def test_devices_seen_with_a_user_are_named_and_erased_only_if_told(
    four_nights: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = copied(four_nights, tmp_path)
    of_other = pc.field("user_id") == OTHER
    shared = pc.field("device_id") == USER
    before = Lake.open(settings.paths.lake).arrow("events", ["event_id"], of_other).num_rows
    assert erase.run(settings, people(settings, "sunbird", users=[OTHER])) == 0
    out = capsys.readouterr().out
    assert "devices seen with the erased users of sunbird, which --with-devices erases, too:" in out
    assert {f"  phone-of-{OTHER}", f"  {USER}"} <= set(out.splitlines())
    assert before
    assert Lake.open(settings.paths.lake).arrow("events", ["event_id"], of_other).num_rows == 0
    assert Lake.open(settings.paths.lake).arrow("events", ["event_id"], shared).num_rows > 0
    # The second time no row of theirs names a device any more.
    settings = copied(four_nights, tmp_path / "again")
    assert erase.run(settings, people(settings, "sunbird", users=[OTHER]), with_devices=True) == 0
    assert Lake.open(settings.paths.lake).arrow("events", ["event_id"], of_other | shared).num_rows == 0


def test_hashed_ids_are_erased_by_the_id_as_it_landed(four_nights: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_SALT", "salt")
    landing = tmp_path / "landing"
    shutil.copytree(four_nights.paths.landing / "sunbird" / f"date={NIGHTS[-1]}", landing / "sunbird" / f"date={NIGHTS[-1]}")
    privacy = four_nights.privacy
    sunbird = privacy.sources["sunbird"]
    hashed = sunbird.model_copy(update={"rules": sunbird.rules | {"/actor/id": "hash", "/context/did": "hash", "/context/sid": "hash"}})
    settings = four_nights.model_copy(update={"privacy": privacy.model_copy(update={"sources": privacy.sources | {"sunbird": hashed}})})
    settings = settings.at(landing, tmp_path / "lake")
    run_quietly(settings, NIGHTS[-1])
    stored = pc.field("user_id") == pseudonym(USER, "salt")

    def rows_of_user() -> int:
        return Lake.open(settings.paths.lake).arrow("events", ["event_id"], stored).num_rows

    assert rows_of_user() > 0
    assert erase.run(settings, people(settings, "sunbird", users=[USER])) == 0
    assert rows_of_user() == 0
    before = contents(settings.paths.lake)["sessions"]
    assert before
    assert run_nights.rebuild(settings, None, everything=True) == 0
    assert rows_of_user() == 0
    assert set(before) <= set(contents(settings.paths.lake)["sessions"])


def test_sessions_whose_events_have_expired_are_removed_as_a_whole(four_nights: Settings, tmp_path: Path) -> None:
    settings = copied(four_nights, tmp_path)
    maintain.run(settings, NIGHTS[-1] + dt.timedelta(days=400))
    before = contents(settings.paths.lake)
    assert any(USER in row for row in before["sessions"])
    assert erase.run(settings, people(settings, "sunbird", users=[USER], devices=[USER])) == 0
    after = contents(settings.paths.lake)
    for table in ("sessions", "session_chains", "workflow_summaries", "workflow_chains"):
        # A session of another person has an event less, of a device with this name.
        others = [row for row in before[table] if f'"{USER}"' not in row and f'\\"{USER}\\"' not in row and "-of-" not in row]
        assert others == [row for row in after[table] if "-of-" not in row], table
    ids = {json.loads(row)["session_id"] for row in after["sessions"]}
    assert {json.loads(row)["session_id"] for row in after["session_events"]} <= ids


# --- access


def test_an_export_has_every_row_of_a_person_and_no_other(four_nights: Settings, tmp_path: Path) -> None:
    assert export.run(four_nights, people(four_nights, "sunbird", users=[USER], devices=[USER]), tmp_path / "answer") == 0
    exported = {path.stem: [json.loads(line) for line in path.read_text().splitlines()] for path in (tmp_path / "answer").iterdir()}
    lake = contents(four_nights.paths.lake)
    for table in ("events", "duplicate_events", "sessions", "workflow_summaries"):
        of_person = [row for row in lake[table] if f'"{USER}"' in row or f'\\"{USER}\\"' in row]
        assert len(exported[table]) == len(of_person) > 0, table
    assert {row["raw"].encode() for row in exported["rejected_events"]} == set(REFUSED[:2])
    sessions = {row["session_id"] for row in exported["sessions"]}
    assert {row["session_id"] for row in exported["session_events"]} == sessions
    assert all(exported[table] for table in ("session_chains", "workflow_chains"))
    assert (tmp_path / "answer" / "events.jsonl").stat().st_mode & 0o077 == 0


def test_an_export_of_an_erased_person_is_empty(erased: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert export.run(erased, people(erased, "sunbird", users=[USER]), None) == 3
    assert capsys.readouterr().out == ""


# --- the call


def test_many_people_are_named_in_a_file(four_nights: Settings, tmp_path: Path) -> None:
    file = tmp_path / "ids.txt"
    file.write_text('a-1\n\n{"user": "b-2", "device": "c-3"}\n{"source": "contentsquare", "device": "d-4"}\n')
    named = named_people.of_call(four_nights, "sunbird", ["e-5"], [], file)
    assert {source: dict(one.ids) for source, one in named.items()} == {
        "sunbird": {"user": frozenset(["a-1", "b-2", "e-5"]), "device": frozenset(["c-3"])},
        "contentsquare": {"device": frozenset(["d-4"])},
    }


@pytest.mark.parametrize(
    ("source", "users", "devices", "lines", "message"),
    [
        ("sunbirds", ["x"], [], None, "no source is called 'sunbirds'"),
        (None, ["x"], [], None, "name the source: --source activity_stream, contentsquare, homepagevisit, sunbird"),
        ("sunbird", [], [], None, "nobody is named: name them with --user ID, --device ID or --from FILE"),
        ("sunbird", [""], [], None, "the id of a user is empty: is a variable of the shell not set?"),
        ("contentsquare", ["x"], [], None, "contentsquare has no ids of users: name the device with --device"),
        ("homepagevisit", [], ["x"], None, "homepagevisit has no ids of devices: name the user with --user"),
        (None, [], [], "x", "line 1 of FILE: it has an id alone: name the source with --source"),
        ("sunbird", [], [], "a\n{x", "line 2 of FILE: it is neither an id nor JSON"),
        ("sunbird", [], [], '{"users": "a"}', 'line 1 of FILE: write it as {"source": "sunbird", "user": ID}'),
        (None, [], [], '{"source": "x", "user": "a"}', "line 1 of FILE: no source is called 'x'"),
    ],
)
def test_a_wrong_call_is_one_line(
    tmp_path: Path, source: str | None, users: list[str], devices: list[str], lines: str | None, message: str
) -> None:
    file = tmp_path / "ids.txt" if lines is not None else None
    if file is not None and lines is not None:
        file.write_text(lines)
    with pytest.raises(UsageError) as raised:
        named_people.of_call(configuration.load(), source, users, devices, file)
    assert (message if file is None else message.replace("FILE", str(file))) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.usefixtures("without_arguments")
def test_the_command_line_erases_exports_and_vacuums(
    four_nights: Settings, environment: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = copied(four_nights, tmp_path)
    where = ["--lake", settings.paths.lake, "--landing", settings.paths.landing, "--env", environment]
    person = ["--source", "sunbird", "--user", OTHER]
    exported = call_millrace(capfd, "export", *person, *where)
    assert exported.exit_code == 0
    assert {json.loads(line)["table"] for line in exported.stdout.splitlines()} >= {"events", "sessions"}
    assert call_millrace(capfd, "erase", *person, *where).exit_code == 0
    assert call_millrace(capfd, "export", *person, *where).exit_code == 3
    assert call_millrace(capfd, "maintain", "--now", *where).fault == (
        "millrace: --now is an option of --vacuum: call `millrace maintain --vacuum --now`"
    )
