"""Visits to Special:Homepage: what is valid, and how it maps to events."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import orjson
import pytest
from one_batch import to_records
from source_records import rejection, single_record, without

from transforms.documents.validation import schema_document
from transforms.ingest.lines import split_lines
from transforms.ingest.records import FileLocation, TimeRules
from transforms.sources.homepagevisit import SCHEMA_FILES, SOURCE

NAME = "/analytics/legacy/homepagevisit/"
STORAGE_PATH = FileLocation("homepagevisit", date(2020, 4, 2), 19, "homepagevisit/date=2020-04-02/hour=19/a.jsonl")
LANDED = datetime(2020, 4, 2, 19, tzinfo=UTC)


def visit(event: Any = None, meta: Any = None, **fields: Any) -> dict[str, Any]:
    """A visit as the published schema describes it."""
    return {
        "$schema": NAME + "1.2.1",
        "client_dt": "2020-04-02T19:11:20.942Z",
        "dt": "2020-04-02T19:11:20.942Z",
        "event": {
            "homepage_pageview_token": "example token",
            "impact_module_state": "activated",
            "is_mobile": True,
            "start_email_state": "noemail",
            "user_editcount": 123,
            "user_id": 456,
        }
        | (event or {}),
        "meta": {
            "dt": "2020-04-02T19:11:21.942Z",
            "id": "b0caf18d-6c7f-4403-947d-2712bbe28610",
            "stream": "eventlogging_HomepageVisit",
        }
        | (meta or {}),
        "schema": "HomepageVisit",
        "wiki": "enwiki",
    } | fields


record_of = partial(single_record, SOURCE, STORAGE_PATH)
rejection_of = partial(rejection, SOURCE, STORAGE_PATH)


# what is valid


def test_a_visit_maps_to_a_page_view() -> None:
    record = record_of(visit({"referer_route": "direct"}))
    expected = {
        "status": "accepted",
        "event_id": "b0caf18d-6c7f-4403-947d-2712bbe28610",
        "event_type": "page_view",
        "event_name": "HomepageVisit",
        "format_version": NAME + "1.2.1",
        "client_time": datetime(2020, 4, 2, 19, 11, 20, 942_000, tzinfo=UTC),
        "received_time": datetime(2020, 4, 2, 19, 11, 21, 942_000, tzinfo=UTC),
        "time_source": "client",
        "user_id": "enwiki:456",
        "device_id": None,
        "session_key": None,
        "app_id": "enwiki",
        "environment": "enwiki",
        "page": "Special:Homepage",
        "target_id": "example token",
        "target_type": "direct",
        "flags": [],
    }
    assert {name: record[name] for name in expected} == expected
    assert json.loads(record["properties"])["user_editcount"] == 123
    assert json.loads(record["context"]) == without(visit(), "event")


@pytest.mark.parametrize("name", ["$schema", "event", "meta"])
def test_schema_event_and_meta_are_required(name: str) -> None:
    assert rejection_of(without(visit(), name)) == ("", f'required: "{name}" is missing')


@pytest.mark.parametrize(
    "name", ["homepage_pageview_token", "impact_module_state", "is_mobile", "start_email_state", "user_editcount", "user_id"]
)
def test_the_event_has_required_fields(name: str) -> None:
    document = visit()
    assert rejection_of(document | {"event": without(document["event"], name)}) == ("/event", f'required: "{name}" is missing')


@pytest.mark.parametrize("name", ["dt", "stream"])
def test_meta_has_required_fields(name: str) -> None:
    document = visit()
    assert rejection_of(document | {"meta": without(document["meta"], name)}) == ("/meta", f'required: "{name}" is missing')


def test_the_root_is_closed() -> None:
    assert rejection_of(visit(surprise=1)) == ("/surprise", "additionalProperties: no property of this name is allowed")


def test_event_meta_and_http_are_open() -> None:
    assert record_of(visit({"a": 1}, {"b": 2}, http={"c": 3}))["status"] == "accepted"


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (visit({"impact_module_state": "none"}), "/event/impact_module_state"),
        (visit({"referer_action": "look"}), "/event/referer_action"),
        (visit({"referer_route": "specialcontribute"}), "/event/referer_route"),
        (visit({"start_tutorial_state": ""}), "/event/start_tutorial_state"),
        (visit({"is_mobile": "true"}), "/event/is_mobile"),
        (visit({"user_id": 456.5}), "/event/user_id"),
        (visit({"user_id": 2**53}), "/event/user_id"),
        (visit({"user_id": -(2**53)}), "/event/user_id"),
        (visit({"user_id": "456"}), "/event/user_id"),
        (visit({"referer_namespace": None}), "/event/referer_namespace"),
        (visit(meta={"domain": ""}), "/meta/domain"),
        (visit(meta={"stream": ""}), "/meta/stream"),
        (visit(meta={"uri": "not a uri"}), "/meta/uri"),
        (visit(meta={"uri": "/" + "a" * 8192}), "/meta/uri"),
        (visit(meta={"dt": "2020-02-30T00:00:00Z"}), "/meta/dt"),
        (visit(client_dt="2020-04-02T24:00:00Z"), "/client_dt"),
        (visit(client_dt="2020-04-02T19:11:20." + "0" * 128 + "Z"), "/client_dt"),
        (visit(dt="2020-04-02 19:11:20"), "/dt"),
        (visit(wiki=None), "/wiki"),
        (visit(uuid="x" * 129), "/uuid"),
        (visit(http={"request_headers": {"x": 1}}), "/http/request_headers/x"),
        (visit(http={"status_code": "200"}), "/http/status_code"),
        (visit(revision=1.5), "/revision"),
    ],
)
def test_the_schema_is_applied_to_the_letter(document: dict[str, Any], path: str) -> None:
    assert rejection_of(document)[0] == path


@pytest.mark.parametrize("uri", ["https://de.wikipedia.org/wiki/Größe", "/wiki/अपरिचीत", "https://x.org/?a=1#é", ""])
def test_letters_beyond_ascii_pass_in_a_uri(uri: str) -> None:
    assert record_of(visit(meta={"uri": uri}))["status"] == "accepted"


@pytest.mark.parametrize(("user_id", "told"), [(b"456.0", "456"), (b"4.56e2", "456"), (b"-7", "-7"), (b"0", "0"), (b"-0.0", "0")])
def test_a_user_id_is_any_integer_however_it_is_written(user_id: bytes, told: str) -> None:
    line = orjson.dumps(visit()).replace(b'"user_id":456', b'"user_id":' + user_id)
    batch, _ = to_records(SOURCE, list(split_lines([line])), STORAGE_PATH, TimeRules())
    assert batch["user_id"].to_pylist() == [f"enwiki:{told}"]


# versions


def test_the_versions_are_the_files_of_the_folder() -> None:
    assert list(SCHEMA_FILES) == [NAME + "1.2.1", NAME + "1.5.2", NAME + "1.6.0"]
    assert SCHEMA_FILES[NAME + "1.2.1"] == "homepagevisit/1.2.1.json"


def test_referer_route_has_11_values_and_21_from_version_1_5_2_on() -> None:
    routes = [schema_document(file)["properties"]["event"]["properties"]["referer_route"]["enum"] for file in SCHEMA_FILES.values()]
    assert [len(set(values)) for values in routes] == [11, 21, 21]
    assert set(routes[0]) < set(routes[1])


def test_a_later_version_takes_what_it_widened() -> None:
    later = {"$schema": NAME + "1.5.2"}
    assert record_of(visit({"referer_route": "specialcontribute"}, **later))["flags"] == []
    assert rejection_of(visit({"referer_route": "nowhere"}, **later))[0] == "/event/referer_route"


@pytest.mark.parametrize("version", ["1.2.1", "1.5.2", "1.6.0"])
def test_a_refined_row_has_a_user_agent_in_any_version(version: str) -> None:
    agent = {"browser_family": "Firefox", "is_bot": False}
    record = record_of(visit(useragent=agent, **{"$schema": NAME + version}))
    assert (record["status"], record["flags"]) == ("accepted", [])


@pytest.mark.parametrize("version", ["1.0.0", "1.7.0", "2.0.0", "latest"])
def test_an_unknown_version_is_validated_by_the_newest_and_flagged(version: str) -> None:
    record = record_of(visit({"referer_route": "specialcontribute"}, **{"$schema": NAME + version}))
    assert (record["flags"], record["format_version"]) == (["unknown_version"], NAME + version)
    assert rejection_of(visit({"user_id": None}, **{"$schema": NAME + version}))[0] == "/event/user_id"


@pytest.mark.parametrize("name", ["/analytics/legacy/homepagemodule/1.2.1", "", NAME, NAME + "a/1.2.1", "1.2.1"])
def test_the_name_of_another_schema_is_a_violation(name: str) -> None:
    assert rejection_of(visit(**{"$schema": name})) == ("/$schema", f"$schema: must be a version of {NAME}")


def test_a_schema_that_is_no_string_is_a_violation() -> None:
    assert rejection_of(visit(**{"$schema": 7}))[0] == "/$schema"


# times


def test_without_a_time_of_the_client_the_servers_counts() -> None:
    record = record_of(without(visit(), "client_dt"))
    assert record["client_time"] is None
    assert (record["time_source"], record["event_time"]) == ("received", datetime(2020, 4, 2, 19, 11, 21, 942_000, tzinfo=UTC))


def test_a_leap_second_is_stored_as_the_next_second_and_the_year_0000_as_null() -> None:
    assert record_of(visit(client_dt="2016-12-31T23:59:60Z"))["client_time"] == datetime(2017, 1, 1, tzinfo=UTC)
    record = record_of(visit(client_dt="0000-01-01T00:00:00Z"))
    assert (record["status"], record["client_time"]) == ("accepted", None)
    assert record_of(visit(meta={"dt": "0000-01-01T00:00:00Z"}))["received_time"] == LANDED


# columns


def test_an_event_is_known_by_the_id_of_meta_then_the_uuid_then_its_content() -> None:
    assert record_of(visit(uuid="u"))["event_id"] == "b0caf18d-6c7f-4403-947d-2712bbe28610"
    assert record_of(visit(meta={"id": ""}, uuid="u"))["event_id"] == "u"
    hashed = record_of(visit(meta={"id": ""}))["event_id"]
    assert len(hashed) == 64
    assert record_of(visit(meta={"id": ""}, ip="1.2.3.4"))["event_id"] == hashed


def test_an_event_without_a_name_is_a_homepage_visit() -> None:
    assert record_of(without(visit(), "schema"))["event_name"] == "HomepageVisit"
    assert record_of(visit(schema="Other"))["event_name"] == "Other"


def test_user_ids_are_per_wiki_or_else_per_domain() -> None:
    at_home = without(visit(meta={"domain": "en.wikipedia.org"}), "wiki")
    nowhere = without(visit(), "wiki")
    assert record_of(at_home)["user_id"] == "en.wikipedia.org:456"
    assert record_of(at_home)["app_id"] is None
    assert record_of(nowhere)["user_id"] == ":456"


def test_addresses_and_cookies_are_dropped() -> None:
    headers = {"X-Client-IP": "1.2.3.4", "Cookie": "1.2.3.4", "user-agent": "x"}
    record = record_of(visit(ip="1.2.3.4", http={"client_ip": "1.2.3.4", "has_cookies": True, "request_headers": headers}))
    assert "1.2.3.4" not in str(record)
    assert json.loads(record["context"])["http"] == {"has_cookies": True, "request_headers": {"user-agent": "x"}}


# sessions


def test_sessions_are_derived_per_wiki_and_user() -> None:
    session = record_of(visit())["session_input"]
    assert (session["key"], session["kind"], session["user"], session["pauses"]) == ('["enwiki",456]', "derived", True, False)
    assert record_of(without(visit(meta={"domain": "en.wikipedia.org"}), "wiki"))["session_input"]["key"] == '["en.wikipedia.org",456]'


def test_a_visit_of_an_unknown_wiki_belongs_to_no_session() -> None:
    assert record_of(without(visit(), "wiki"))["session_input"]["key"] is None


def test_a_canary_is_no_page_view_and_belongs_to_no_session() -> None:
    record = record_of(visit(meta={"domain": "canary"}))
    assert (record["event_type"], record["flags"], record["session_input"]["key"]) == ("other", ["canary"], None)
