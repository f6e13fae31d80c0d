"""Random nights of all sources: events at and around every limit of the rules, in files that land on time, late or twice."""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

Row = dict[str, Any]

FIRST = dt.date(2026, 11, 17)
NIGHTS = [FIRST + dt.timedelta(days=number) for number in range(4)]
START = dt.datetime(2026, 11, 17, 1, tzinfo=dt.UTC)
END = dt.datetime(2026, 11, 20, 22, tzinfo=dt.UTC)
SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000
# Both sides of every limit in the rules, and the limits themselves.
GAPS = [0, 1, SECOND, 4 * SECOND, 30 * SECOND, 10 * MINUTE, 10 * MINUTE + 1, 20 * MINUTE, 30 * MINUTE, 30 * MINUTE + 1]
GAPS += [3 * HOUR, 24 * HOUR, 24 * HOUR + 1, 30 * HOUR]
Landed = dict[Path, list[Row]]  # the documents of each file, by its path below the landing root


def landed_files(random: Random, people: int) -> Landed:
    """The documents of so many people per source, in files of the hours in which they land; some land days late, some twice."""
    files: Landed = defaultdict(list)
    for source, documents_of in (
        ("sunbird", _sunbird),
        ("contentsquare", _contentsquare),
        ("homepagevisit", _homepagevisit),
        ("activity_stream", _pings),
    ):
        for person in range(people):
            for time, document in documents_of(random, f"{source}-{person}"):
                for _ in range(random.choice([1] * 19 + [2])):
                    files[_place(random, source, time)].append(document)
    return files


def write(root: Path, path: Path, documents: list[Row]) -> None:
    """Land a file."""
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(json.dumps(document) + "\n" for document in documents))


def _place(random: Random, source: str, time: dt.datetime) -> Path:
    landed = min(time + dt.timedelta(days=random.choice([0] * 8 + [1, 2])), END)
    return Path(source, f"date={landed.date()}", f"hour={landed.hour:02}", f"{random.choice('ab')}.jsonl")


def _times(random: Random, most: int) -> Iterator[dt.datetime]:
    time = START + dt.timedelta(milliseconds=random.randrange(30 * HOUR))
    for _ in range(random.randint(1, most)):
        yield time
        time = min(time + dt.timedelta(milliseconds=random.choice(GAPS)), END)


def _ms(time: dt.datetime) -> int:
    return round(time.timestamp() * 1000)


def _sunbird(random: Random, person: str) -> Iterator[tuple[dt.datetime, Row]]:
    has_sid = random.random() < 0.6
    kinds = ["START", "START", "END", "IMPRESSION", "IMPRESSION", "INTERACT", "INTERACT", "INTERRUPT", "ASSESS", "LOG", "SUMMARY"]
    for number, time in enumerate(_times(random, 14)):
        kind = random.choice(kinds if random.random() < 0.9 else ["LOG"])
        context = {"channel": "c", "env": random.choice(["home", "play"]), "pdata": {"id": "app"}}
        context |= {"sid": person} if has_sid else {}
        context |= {"did": person} if random.random() < 0.9 else {}
        yield (
            time,
            {
                "eid": kind,
                "ets": _ms(time),
                "ver": "3.0",
                "mid": f"{person}-{number}",
                "actor": {"id": person, "type": random.choice(["User", "User", "User", "System"])},
                "context": context,
                "edata": _edata(random, kind, time),
            },
        )


def _edata(random: Random, kind: str, time: dt.datetime) -> Row:
    span = {"type": random.choice(["app", "course", "content"]), "mode": random.choice(["", "play"])}
    other = {
        "IMPRESSION": {"type": random.choice(["view", "list"]), "pageid": random.choice(["p", "q", "r"]), "uri": "/"},
        "INTERACT": {"type": random.choice(["TOUCH", "OTHER"]), "id": "button"},
        "INTERRUPT": {"type": random.choice(["background", "other"])},
        "ASSESS": {
            "item": {"id": "i", "maxscore": 1, "exlength": 0, "uri": "", "desc": "", "title": ""},
            "pass": "Yes",
            "score": 1,
            "resvalues": [{"a": 1}],
            "duration": 1,
        },
        "LOG": {"type": "app", "level": "INFO", "message": ""},
        "SUMMARY": {"type": "session", "starttime": _ms(time), "endtime": _ms(time), "timespent": 30, "pageviews": 1, "interactions": 1},
    }
    return other.get(kind, span)


def _contentsquare(random: Random, person: str) -> Iterator[tuple[dt.datetime, Row]]:
    for number, time in enumerate(_times(random, 10)):
        kind = random.choice([4, 4, 6, 6, 6, 0, 1])
        event = {"ea": kind, "euid": f"{person}-{number}", "sn": 1, "t": _ms(time), "url": f"app://{random.choice('pq')}"}
        yield time, {"pid": 8, "uid": person, "now": _ms(time), "pl": [event]}


def _homepagevisit(random: Random, person: str) -> Iterator[tuple[dt.datetime, Row]]:
    user_id = random.randrange(10**9)
    for number, time in enumerate(_times(random, 6)):
        event = {
            "homepage_pageview_token": f"{person}-{number}",
            "impact_module_state": "activated",
            "is_mobile": True,
            "start_email_state": "noemail",
            "user_editcount": 1,
            "user_id": user_id,
        }
        meta = {"dt": time.isoformat(), "id": f"{person}-{number}", "stream": "eventlogging_HomepageVisit"}
        yield (
            time,
            {
                "$schema": "/analytics/legacy/homepagevisit/1.2.1",
                "client_dt": time.isoformat(),
                "event": event,
                "meta": meta,
                "wiki": "enwiki",
            },
        )


def _pings(random: Random, person: str) -> Iterator[tuple[dt.datetime, Row]]:
    for number, time in enumerate(_times(random, 10)):
        ping = {"client_id": person, "addon_version": "1", "page": "newtab", "tab_id": random.choice([1, 2]), "timestamp": _ms(time)}
        if random.random() < 0.3:
            ping |= {"session_id": f"{person}-{random.choice('lm')}"}
        if random.random() < 0.4:
            duration = random.choice([0, 5 * SECOND, MINUTE, 3 * HOUR])
            reasons = {"load_reason": "newtab", "unload_reason": "close", "session_duration": duration}
            yield time, ping | {"action": "activity_stream_session"} | reasons
        else:
            yield time, ping | {"action": "activity_stream_event", "event": "CLICK", "source": f"{number}"}
