"""Sunbird Telemetry V3: the events and batches as JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from jobs.generator import draws
from jobs.generator.clock import iso
from jobs.generator.draws import Flags, Whole
from jobs.generator.rows import BATCH, NEVER, Rows, distinct
from jobs.generator.sunbird_kinds import KINDS, Event, Scenario

_CHANNELS = ("505c7c48ac6dc1edc9b08f21db5a571d", "0123221758376673287017", "01250894314817126443", "sunbird-staging")
_APPS = (
    '"pdata":{"id":"prod.diksha.app","pid":"sunbird.app","ver":"2.2.123"}',
    '"pdata":{"id":"prod.diksha.app","pid":"sunbird.app","ver":"2.3.162"}',
    '"pdata":{"id":"prod.diksha.app","pid":"sunbird.app.contentplayer","ver":"2.2.123"}',
    '"pdata":{"id":"prod.diksha.portal","pid":"sunbird-portal","ver":"2.4.0"}',
    '"pdata":{"id":"prod.diksha.portal","ver":"2.5.1"}',
    "",
)
_CORRELATIONS = ('"cdata":[{"type":"ContentSession","id":"ef7d9ce06af21d6e"}]', '"cData":null', '"cdata":[{"type":"DialCode","id":["P3SBX4"]}]', '"rollup":{}')
_ENVIRONMENTS = ("app", "home", "contentplayer", "course", "user", "sdk")
_PAGES = ("home", "library", "content-detail", "course-toc", "profile", "search", "explore", "do_31250273196059852811667")
_PAGE_TYPES = ("view", "list", "detail", "workflow")
_OBJECTS = (
    '"object":{"id":"do_31250273196059852811667","type":"Content","ver":"2","rollup":{"l1":"do_312526581578375168240435"}},',
    '"object":{"id":"do_312831325580607488118810","type":"TextBook","version":"12"},',
    '"object":{},',
    '"object":{"id":"","type":"","rollup":{}},',
    "",
)
_TAPS = ("TOUCH", "CLICK", "SCROLL", "DRAG", "OTHER", "LISTEN", "touch", "SHOW")
_BUTTONS = ("btn-play", "card-0", "tab-library", "nav-back", "download", "சமர்ப்பிக்க", "filter-medium", "rate")
_EXTRAS = (
    "",
    ',"subtype":"PLAY"',
    ',"extra":{"pos":[{"x":12.5,"y":310}],"values":[]}',
    ',"target":{"id":"do_31279352288932659215822","type":"Content","ver":"1"}',
    ',"plugin":{"id":"org.ekstep.navigation","ver":"1.0"}',
    ',"duration":0.4',
    "",
    "",
)
_SERVICES = ("org.ekstep.learning.platform", "search-service", "druid-ingest", "content-publisher")
_ROOT_EXTRAS = (
    "",
    ',"tags":[]',
    ',"type":"events","flags":{"tv_processed":true,"dd_processed":true}',
    ',"tags":[{"p":["a1"]}],"metadata":{"checksum":"5f3c"}',
    ',"type":"events","devicedata":{"country":"India","devicespec":{"os":"Android 9","make":"Xiaomi Redmi 6A"}}',
)


class Said(NamedTuple):
    """What the event data is made of."""

    page: str
    environment: str
    detail: int  # some random bits
    summary: Summary


class Summary(NamedTuple):
    """What the stay comes to, up to the event."""

    start: int  # ms
    end: int  # ms
    active: int  # ms
    pageviews: int
    interactions: int


def received_times(rows: Rows) -> Whole:
    """The server's own time of each record, epoch ms: of its batch, else of the event; NEVER where neither has one."""
    return np.select([~_stamped(rows), rows.style == BATCH], [np.full(len(rows), NEVER), rows.arrival], rows.sent)


def _stamped(rows: Rows) -> Flags:
    return draws.share(rows.stay, "stamped") < 0.9


def documents(rows: Rows) -> list[str]:
    """The events as JSON."""
    first, person_of = distinct(rows.stay)
    people = _people(rows.take(first))
    segment = draws.draw(rows.stay, "pages") ^ (rows.number // 5).astype(np.uint64)
    columns = zip(
        person_of.tolist(),
        rows.kind.tolist(),
        draws.uuids(rows.bits, "mid"),
        _times_sent(rows),
        draws.chosen(segment, "environment", _ENVIRONMENTS),
        draws.chosen(segment, "page", _PAGES),
        draws.picks(rows.bits, "detail", 1 << 30),
        np.stack([rows.client - rows.elapsed, rows.client, rows.active, rows.pageviews, rows.interactions], axis=1).tolist(),
        _stamps(rows),
        strict=True,
    )
    written = []
    for person, kind, message, time, environment, page, detail, totals, stamp in columns:
        user, system, version, context, thing = people[person]
        actor = system if kind == Event.LOG else user
        data = _DATA[kind](Said(page, environment, detail, Summary(*totals)))
        written.append(
            f'{{"eid":"{_NAMES[kind]}","ets":{time},"ver":"{version}","mid":"{message}","actor":{actor},'
            f'"context":{{{context},"env":"{environment}"}},{thing}"edata":{data}{_ROOT_EXTRAS[detail % 5]}{stamp}}}'
        )
    return written


def _people(rows: Rows) -> list[tuple[str, str, str, str, str]]:
    """For each stay its actor, the system's, the version of the format, the context without environment, and the object."""
    columns = zip(
        rows.scenario.tolist(),
        rows.keyed.tolist(),
        draws.uuids(rows.key, "sid"),
        draws.hexes(rows.device, "did"),
        draws.uuids(rows.device, "user"),
        draws.share(rows.device, "actor").tolist(),
        draws.chosen(rows.device, "channel", _CHANNELS),
        draws.chosen(rows.device, "app", _APPS),
        draws.chosen(rows.stay, "correlation", _CORRELATIONS),
        draws.chosen(rows.stay, "object", _OBJECTS),
        draws.chosen(rows.stay, "service", _SERVICES),
        strict=True,
    )
    people = []
    for scenario, keyed, session, device, user, trait, channel, app, correlation, thing, service in columns:
        parts = [f'"channel":"{channel}"', app, correlation]
        actor_id, actor_type = _actor_id(user, device, trait), "user" if trait < 0.05 else "User"
        if scenario == Scenario.SERVICE:
            actor_id, actor_type = service, "System"
        elif scenario == Scenario.KEYLESS:
            actor_id = ""
        else:
            parts.append(f'"did":"{device}"')
        # Without a session id the actor is part of the key: the system writes in the user's name, or its events would have no session.
        system_id = actor_id
        if keyed:
            parts.append(f'"sid":"{session}"')
            system_id = "telemetry-service"
        actor, system = f'{{"id":"{actor_id}","type":"{actor_type}"}}', f'{{"id":"{system_id}","type":"System"}}'
        people.append((actor, system, "3.1" if trait > 0.97 else "3.0", ",".join(part for part in parts if part), thing))
    return people


def _actor_id(user: str, device: str, trait: float) -> str:
    """A user, a user of a federated realm, or, for who has not signed in, what the SDKs send."""
    if trait < 0.65:
        return user
    if trait < 0.75:
        return f"f:{user[::-1]}:{user}"
    if trait < 0.92:
        return device
    return "anonymous" if trait < 0.96 else ""


def _times_sent(rows: Rows) -> list[str]:
    """`ets` as the device writes it: whole, with an exponent, with a fraction, or in seconds."""
    in_seconds = (rows.scenario == Scenario.SECONDS).tolist()
    written = []
    for time, seconds, trait in zip(rows.client.tolist(), in_seconds, draws.share(rows.device, "ets").tolist(), strict=True):
        digits = str(time)
        if seconds:
            written.append(digits[:-3])
        elif trait < 0.6:
            written.append(digits)
        elif trait < 0.9:
            written.append(f"{digits[0]}.{digits[1:]}E{len(digits) - 1}")
        else:
            written.append(f"{digits}.{time % 4 * 25:02}")
    return written


def _stamps(rows: Rows) -> list[str]:
    """The server's stamp on each event that travels outside a batch."""
    by_name = draws.share(rows.stay, "stamp") < 0.5
    alone = _stamped(rows) & (rows.style != BATCH)
    return [
        "" if not stamped else f',"@timestamp":"{iso(sent)}"' if named else f',"syncts":{sent}'
        for sent, stamped, named in zip(rows.sent.tolist(), alone.tolist(), by_name.tolist(), strict=True)
    ]


def batches(rows: Rows, groups: Sequence[Sequence[str]]) -> list[str]:
    """The documents of each group in a batch, as one line of JSON."""
    columns = zip(draws.uuids(rows.upload, "msgid"), rows.arrival.tolist(), _stamped(rows).tolist(), groups, strict=True)
    return [
        f'{{"id":"api.sunbird.telemetry","ver":"3.0","ets":{arrival - 900},"params":{{"msgid":"{message}","x-real-ip":"10.1.{arrival % 256}.7"}},'
        f'"events":[{",".join(group)}]{f"{_SYNCTS}{arrival}" if stamped else ""}}}'
        for message, arrival, stamped, group in columns
    ]


_SYNCTS = ',"syncts":'


def _start(said: Said) -> str:
    device = ',"dspec":{"os":"Android 9","make":"Xiaomi Redmi 6A","scrn":"5.45","sims":"-1"}' if said.detail & 32 else ""
    kind = "app" if said.detail & 64 else "session"
    return f'{{"type":"{kind}","mode":"","loc":""{device},"pageid":"{said.page}"}}'


def _impression(said: Said) -> str:
    visits = ',"visits":[{"objid":"do_3125","objtype":"Content","index":0}]' if said.detail & 48 == 48 else ""
    return f'{{"type":"{_PAGE_TYPES[said.detail % 4]}","pageid":"{said.page}","uri":"/{said.environment}/{said.page}"{visits}}}'


def _interact(said: Said) -> str:
    detail = said.detail
    tap, button = _TAPS[detail & 7], _BUTTONS[detail >> 3 & 7]
    return f'{{"type":"{tap}","id":"{button}","pageid":"{said.page}"{_EXTRAS[detail >> 6 & 7]}}}'


def _assess(said: Said) -> str:
    detail = said.detail
    # Scores above 1 happen, and are kept.
    score = (0, 1, 0.5, 1.0, 0, 1, 0.25, 2)[detail & 7]
    item = f'{{"id":"do_31{detail % 997}","maxscore":1,"type":"mcq","title":"Q{detail % 31}: 7 × 8 = ?","desc":"","mc":[],"mmc":[]}}'
    answer = "Yes" if score else "No"
    return f'{{"item":{item},"index":{detail % 20},"pass":"{answer}","score":{score},"resvalues":[{{"{detail % 4}":"56"}}],"duration":{detail % 600 / 10}}}'


def _share(said: Said) -> str:
    return f'{{"dir":"Out","type":"File","items":[{{"id":"do_31{said.detail % 997}","type":"CONTENT","ver":"1","params":[{{"size":""}}]}}]}}'


def _error(said: Said) -> str:
    return f'{{"err":"ERR_{said.detail % 5}","errtype":"SYSTEM","stacktrace":"at line {said.detail % 400}\\n\\tat main","pageid":"{said.page}"}}'


def _log(said: Said) -> str:
    took = said.detail % 2_000
    return f'{{"type":"api_call","level":"INFO","message":"GET /content/v1/read","params":[{{"rid":"{said.detail}"}},{{"duration":{took}}},{{"status":200}}]}}'


def _search(said: Said) -> str:
    query = ("", "fractions", "भूगोल", "grade 7 science")[said.detail & 3]
    return f'{{"type":"content","query":"{query}","filters":{{"medium":["English"]}},"sort":{{}},"size":{said.detail % 900},"topn":[{{"identifier":"do_3128"}}]}}'


def _end(said: Said) -> str:
    # One phone in a hundred counts from the wrong moment.
    duration = -1564676673421 if said.detail % 100 == 7 else (said.summary.end - said.summary.start) / 1000
    return f'{{"type":"{"app" if said.detail & 64 else "session"}","mode":"","duration":{duration},"pageid":"{said.page}","summary":[{{"progress":{said.detail % 100}}}]}}'


def _summary(said: Said) -> str:
    start, end, active, pageviews, interactions = said.summary
    agrees = said.detail % 5 != 3
    seconds = active / 1000 if agrees else active / 1000 * 1.3 + 20
    spent = f'"{seconds}"' if said.detail & 128 else f"{seconds}"
    kind = ("session", "app", "session", "tool")[said.detail >> 3 & 3]
    return (
        f'{{"type":"{kind}","mode":"","starttime":{start},"endtime":{end},"timespent":{spent},'
        f'"pageviews":{pageviews if agrees else pageviews + 2},"interactions":{interactions},'
        f'"envsummary":[{{"env":"{said.environment}","timespent":{seconds},"visits":1}}],"eventssummary":[{{"id":"INTERACT","count":{interactions}}}],'
        f'"pagesummary":[{{"id":"{said.page}","type":"view","env":"{said.environment}","timespent":{seconds},"visits":1}}]}}'
    )


_NAMES = tuple(kind.name for kind in KINDS)
_DATA: dict[int, Callable[[Said], str]] = {
    Event.START: _start,
    Event.IMPRESSION: _impression,
    Event.INTERACT: _interact,
    Event.ASSESS: _assess,
    Event.RESPONSE: lambda said: f'{{"type":"CHOOSE","target":{{"id":"q{said.detail % 31}","type":"plugin","ver":"1.2"}},"values":[{{"option{said.detail % 4}":"<p>56</p>"}}]}}',
    Event.BACKGROUND: lambda said: f'{{"type":"{("background", "m:background", "BACKGROUND")[said.detail % 3]}"}}',
    Event.RESUME: lambda said: f'{{"type":"{("resume", "m:resume")[said.detail % 2]}","pageid":"{said.page}"}}',
    Event.FEEDBACK: lambda said: f'{{"rating":{(1, 3, 4.5, 5)[said.detail & 3]},"comments":"बहुत अच्छा 👍"}}',
    Event.SHARE: _share,
    Event.SHARE_ITEM: _share,
    Event.ERROR: _error,
    Event.END: _end,
    Event.HEARTBEAT: lambda said: "{}",
    Event.LOG: _log,
    Event.SEARCH: _search,
    Event.SUMMARY: _summary,
    Event.EXDATA: lambda said: f'{{"type":"xapi","data":"{said.detail:x}"}}',
    Event.AUDIT: lambda said: f'{{"type":"Content","props":["status"],"state":"Live","prevstate":"Review","duration":{said.detail % 400}}}',
    Event.METRICS: lambda said: f'{{"consumed":{said.detail % 90},"failed":0,"lag":{said.detail % 7}.5}}',
    Event.JOB_START: lambda said: '{"type":"publish-pipeline"}',
    Event.METRIC: lambda said: '{"system":"druid","metrics":[{"metric":"rows","value":1}]}',
    Event.PLAYER_START: lambda said: f'{{"type":"player","mode":"play","duration":0.8,"pageid":"{said.page}"}}',
    Event.PLAYER_END: lambda said: f'{{"type":"player","mode":"play","duration":{said.detail % 900},"pageid":"{said.page}","summary":[{{"progress":100}}]}}',
    Event.EDITOR_START: lambda said: '{"type":"editor","mode":"content"}',
    Event.EDITOR_END: lambda said: f'{{"type":"editor","mode":"content","duration":{said.detail % 900}}}',
    Event.SERVICE_START: lambda said: '{"type":"workflow","mode":"publish"}',
}
