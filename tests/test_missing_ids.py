"""Ids that are missing, or the words that senders write for a missing id, join no two people in a session."""

from __future__ import annotations

import itertools

import orjson
from client_documents import (
    MINUTE_MS,
    Row,
    client_documents,
    contentsquare_batch,
    contentsquare_event,
    event_ping,
    homepage_visit,
    session_ping,
    sunbird_event,
)
from client_sessions import events_without_key, session_of_file, single_session, tables_of_file
from landed_lines import LandedTables


def assert_rejected_and_kept(tables: LandedTables, path: str, documents: list[Row]) -> None:
    """These documents are the rejected ones, each refused at this path and kept as it landed."""
    assert [row["path"] for row in tables.rejected] == [path] * len(documents)
    assert [orjson.loads(row["raw"]) for row in tables.rejected] == documents


def test_people_without_a_sid_share_no_session() -> None:
    sids = ["", None, "n/a", "N/A"]
    people = [sunbird_event(minute, sid=sids[minute % 4], did=f"device {minute}", actor=f"person {minute}") for minute in range(8)]

    tables = tables_of_file("sunbird", 0, *people)

    assert [(session["events"], session["session_kind"], session["session_key"]) for session in tables.sessions] == [
        (1, "derived", None)
    ] * 8


def test_an_event_without_session_device_and_actor_is_kept_but_makes_no_session() -> None:
    nobody = itertools.product(["", None, "n/a"], ["", None, "n/a"], ["", "n/a"])
    events = [sunbird_event(minute, sid=sid, did=did, actor=actor) for minute, (sid, did, actor) in enumerate(nobody)]

    tables = tables_of_file("sunbird", 0, *events)

    assert (tables.sessions, events_without_key(tables), tables.rejected) == ([], 18, [])


def test_a_device_or_an_actor_alone_distinguishes_people() -> None:
    people: list[Row] = [
        {"did": "one", "actor": ""},
        {"did": "other", "actor": ""},
        {"did": None, "actor": "one"},
        {"did": None, "actor": "other"},
    ]

    tables = tables_of_file("sunbird", 0, *(sunbird_event(minute, sid=None, **people[minute % 4]) for minute in range(8)))

    assert [session["events"] for session in tables.sessions] == [2, 2, 2, 2]


def test_actors_called_anonymous_without_a_device_share_a_session_without_a_user() -> None:
    """Any actor id is part of the key, also this one; the session has neither user nor device."""
    people = [sunbird_event(minute, sid=None, did=None, actor="anonymous") for minute in range(3)]

    session = session_of_file("sunbird", 0, *people)

    assert (session["events"], session["user_id"], session["device_id"], session["session_key"]) == (3, None, None, None)


def test_a_batch_of_a_phone_without_an_id_is_refused_as_a_whole_and_kept() -> None:
    nobody = [contentsquare_batch(contentsquare_event(minute), now=1, uid=uid) for minute, uid in enumerate(["", None, "n/a", "N/A", 0])]

    tables = tables_of_file("contentsquare", 0, *nobody, *client_documents("contentsquare", 9))

    assert single_session(tables)["events"] == 1
    assert_rejected_and_kept(tables, "/uid", nobody)


def test_of_a_batch_only_the_events_without_a_session_number_are_refused_and_kept() -> None:
    events = [contentsquare_event(minute, sn=sn) for minute, sn in enumerate([0, -1, None, "", 1])]

    tables = tables_of_file("contentsquare", 0, contentsquare_batch(*events, now=5))

    assert single_session(tables)["events"] == 1
    assert [row["path"] for row in tables.rejected] == ["/sn"] * 4
    assert [orjson.loads(row["raw"])["pl"][0]["sn"] for row in tables.rejected] == [0, -1, None, ""]


def test_events_outside_a_batch_make_no_session() -> None:
    tables = tables_of_file("contentsquare", 0, [contentsquare_event(0), contentsquare_event(1)], contentsquare_event(2))

    assert (tables.sessions, events_without_key(tables)) == ([], 3)


def test_a_browser_without_an_id_is_refused_and_kept() -> None:
    nobody = [session_ping(0, 1000, client_id=client_id) for client_id in ("", None, "n/a", "N/A")]

    tables = tables_of_file("activity_stream", 0, *nobody, session_ping(1, 1000))

    assert single_session(tables)["events"] == 1
    assert_rejected_and_kept(tables, "/client_id", nobody)


def test_pings_without_a_session_id_join_no_two_tabs() -> None:
    pings = [
        session_ping(5, 5 * MINUTE_MS, tab_id=1),
        event_ping(1, tab_id=1),
        session_ping(5, 5 * MINUTE_MS, tab_id=2),
        event_ping(3, tab_id=3),
    ]
    without_session_id = [{"client_id": f"browser {number}", "session_id": value} for number, value in enumerate(["", None, "n/a", "{}"])]

    tables = tables_of_file("activity_stream", 0, *(ping | fields for fields in without_session_id for ping in pings))

    assert (sorted(session["events"] for session in tables.sessions), tables.unassigned()) == ([1] * 4 + [2] * 4, 4)


def test_a_visit_without_a_wiki_makes_no_session_and_users_of_different_wikis_are_different() -> None:
    tables = tables_of_file(
        "homepagevisit",
        0,
        homepage_visit(0, wiki=""),
        homepage_visit(1, wiki="n/a"),
        homepage_visit(2),
        homepage_visit(3, wiki="dewiki"),
    )

    assert ([session["user_id"] for session in tables.sessions], events_without_key(tables)) == (["enwiki:456", "dewiki:456"], 2)


def test_visits_of_user_id_0_share_a_session_as_those_of_any_user() -> None:
    """0 is a valid id in the format's schema, and the page is for signed-in users: it does not mean an unknown user."""
    assert session_of_file("homepagevisit", 0, homepage_visit(0, user_id=0), homepage_visit(1, user_id=0))["pageviews"] == 2
