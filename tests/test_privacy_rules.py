"""Rules about personal data: by pointer, by name and by value; pseudonyms; and the bytes of refused records."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from nacl.public import PrivateKey, SealedBox
from one_batch import to_records
from planted_markers import EVENTS

from jobs import settings as configuration
from jobs.commands import stored_fields
from jobs.errors import SettingsError
from jobs.rules import privacy_rules
from transforms.documents.json_documents import canonical
from transforms.ingest.lines import split_lines
from transforms.ingest.records import FileLocation, TimeRules
from transforms.privacy.patterns import TextPatterns
from transforms.privacy.pointer_rules import Action
from transforms.privacy.privacy_rules import SHIPPED_PRIVACY, PrivacyRules, SourceRules
from transforms.privacy.pseudonyms import Pseudonyms, Salt, pseudonym
from transforms.privacy.secret_names import SHIPPED_NAMES, SecretNames
from transforms.sources.registry import SOURCES

DATE = dt.date(2026, 11, 20)
SALT = Pseudonyms((Salt(dt.date.min, "some salt"),))
Row = dict[str, Any]
TEXTS = TextPatterns(SHIPPED_NAMES)


def row_of(source: str, event: Any, rules: PrivacyRules = SHIPPED_PRIVACY, date: dt.date = DATE) -> Row:
    """The only row that a line gives."""
    line = event if isinstance(event, bytes) else canonical(event)
    batch, _ = to_records(SOURCES[source], list(split_lines([line])), FileLocation(source, date, 6, "a.jsonl"), TimeRules(), rules)
    [row] = batch.to_pylist()
    return dict(row)


def of_pointers(source: str, pointers: Mapping[str, Action], **others: Any) -> PrivacyRules:
    return PrivacyRules(sources={source: SourceRules(pointers=pointers)}, pseudonyms=SALT, **others)


def event_of(source: str) -> Row:
    return {**EVENTS[source], **{"contentsquare": {"euid": "e"}, "sunbird": {"mid": "m"}}.get(source, {})}


def sunbird(**changed: Any) -> Row:
    return {**EVENTS["sunbird"], "mid": "m", **changed}


# --- values in texts


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("from 203.0.113.7.", "from [ip]."),
        ("203.0.113.7:80,203.0.113.8", "[ip]:80,[ip]"),
        ("[2001:db8::7]:443", "[[ip]]:443"),
        ("::ffff:203.0.113.7", "[ip]"),
        ("a@b.example and c%40d.example", "[email] and [email]"),
        ("?user=a%2540b.example&x=1", "?user=[email]&x=1"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer [secret]"),
        ("/a?token=abc&x=1", "/a?token=[secret]&x=1"),
        ("https://me:word@host/", "https://[secret]@host/"),
        ("password='abc'", "password='[secret]'"),
        ("ip: 203.0.113.7", "ip: [secret]"),
        ("<password>abc</password>", "<password>[secret]</password>"),
        ("token=>abc", "token=>[secret]"),
        ("?q=%7B%22token%22%3A%22abc%22%7D&x=1", "?q=%7B%22token%22%3A%22[secret]&x=1"),
    ],
)
def test_an_address_or_key_in_a_text_becomes_its_kind(text: str, redacted: str) -> None:
    assert TEXTS.redacted(text) == redacted


@pytest.mark.parametrize(
    "text",
    [
        *("12:34:56", "2026-11-20T12:34:56Z", "1.2.3", "256.1.1.1", "1.2.3.4.5", "std::vector", "::", "a @ b", "@home", "me@host"),
        *("https://example.com/a:b?x=1", "a basic idea", "bearer", "key=1", "40%", "do_31250273196059852811667", "9.9.9.999"),
    ],
)
def test_a_text_that_only_looks_like_one_is_kept(text: str) -> None:
    assert TEXTS.redacted(text) == text


PARTS = [
    "203.0.113.7",
    "2001:db8::7",
    "::1",
    "a@b.example",
    "%40",
    "x%40y.example",
    "Bearer abcdef",
    "token=q",
    "api__key=q",
    "id[token]=q",
    *("api", "key", "_", "[", "]"),
    "ip",
    "://u:p@h",
    "@",
    ":",
    "=",
    " ",
    "é",
    "k",
]


@given(st.lists(st.sampled_from(PARTS) | st.text(max_size=3), max_size=6).map("".join))
def test_the_quick_search_misses_no_text_with_an_address_or_key(text: str) -> None:
    for document in ({"t": text}, {text: 1}, [text]):
        assert TEXTS.redacted(text) == text or TEXTS.search.matching([canonical(document)])


def test_an_address_is_truncated_to_its_network() -> None:
    assert TEXTS.truncated("203.0.113.77 2001:db8:1:2::3") == "203.0.113.0 2001:db8:1::"


def test_a_long_text_is_searched_in_time_that_grows_with_its_length() -> None:
    for part in ("a", "a.", "1.", "%40", "@a", "a:", "=", "bearer ", "1 2"):
        assert len(TEXTS.redacted(part * 60_000)) >= 5


# --- rules by pointer


def test_each_action_does_what_its_name_says() -> None:
    pointers: dict[str, Action] = {
        "/edata/a": "drop",
        "/edata/b": "hash",
        "/edata/c": "truncate",
        "/edata/d": "redact",
        "/edata/ip": "keep",
        "/edata/list/*/x": "drop",
    }
    parts = {
        "a": 1,
        "b": "some string value",
        "c": "203.0.113.7",
        "d": "call +49 30 1234567",
        "ip": "203.0.113.7",
        "list": [{"x": 1, "y": 2}],
    }
    row = row_of("sunbird", sunbird(edata=EVENTS["sunbird"]["edata"] | parts), of_pointers("sunbird", pointers))
    properties = json.loads(row["properties"])
    assert {name: properties.get(name) for name in parts} == {
        "a": None,
        "b": "3BF2B893B2A0F57586E7CF73AF0690F061FAA9546F2C385AD93174BB9A81468C",
        "c": "203.0.113.0",
        "d": "call [number]",
        "ip": "203.0.113.7",
        "list": [{"y": 2}],
    }


@pytest.mark.parametrize(
    ("rules", "tags", "masked"),
    [
        ({"/tags/1": "hash"}, ["a", pseudonym("b", "some salt"), "c"], b'["a","*","c"]'),
        ({"/tags/1": "drop"}, ["a", "c"], b'["a","*","c"]'),
        ({"/tags/*": "drop", "/tags/2": "keep"}, ["c"], b'["*","*","c"]'),
    ],
)
def test_a_rule_about_the_items_of_an_array_holds(rules: Mapping[str, Action], tags: list[str], masked: bytes) -> None:
    accepted = row_of("sunbird", sunbird(tags=["a", "b", "c"]), of_pointers("sunbird", rules))
    assert json.loads(accepted["context"])["tags"] == tags
    refused = row_of("sunbird", b'{"tags":["a","b","c"]}', of_pointers("sunbird", rules))
    assert refused["raw"] == b'{"tags":' + masked + b"}"


@pytest.mark.parametrize(
    ("rules", "kept"),
    [({}, {}), ({"/ip": "keep"}, {"ip": "203.0.113.7"}), ({"/ua": "truncate"}, {"ua": {"note": "from 203.0.113.0"}})],
)
def test_a_rule_by_pointer_comes_before_the_name_of_a_field_that_every_record_has(rules: Mapping[str, Action], kept: Row) -> None:
    ping = {**event_of("activity_stream"), "addon_version": "1"}
    landed = {**ping, "ip": "203.0.113.7", "ua": {"note": "from 203.0.113.7"}}
    row = row_of("activity_stream", landed, of_pointers("activity_stream", rules, names=SecretNames(["ua"])))
    assert json.loads(row["properties"]) == {**ping, **kept}


def test_within_a_kept_object_names_and_patterns_still_hold() -> None:
    event = sunbird(edata=EVENTS["sunbird"]["edata"] | {"o": {"cookie": "c", "t": "a@b.example"}})
    row = row_of("sunbird", event, of_pointers("sunbird", {"/edata/o": "keep"}))
    assert json.loads(row["properties"])["o"] == {"t": "[email]"}


def test_a_dropped_field_is_in_no_column_and_a_hashed_one_is_the_same_in_its_column() -> None:
    dropped = row_of("sunbird", sunbird(), of_pointers("sunbird", {"/edata/pageid": "drop"}))
    hashed = row_of("sunbird", sunbird(), of_pointers("sunbird", {"/edata/pageid": "hash"}))
    assert dropped["page"] is None
    assert hashed["page"] == json.loads(hashed["properties"])["pageid"] == pseudonym("p", "some salt")


@pytest.mark.parametrize(
    ("source", "pointers"),
    [
        ("sunbird", ["/actor/id", "/context/did"]),
        ("homepagevisit", ["/event/user_id"]),
        ("activity_stream", ["/client_id"]),
        ("contentsquare", ["/batch/uid"]),
    ],
)
def test_a_hashed_id_is_nowhere_in_the_clear_and_keeps_events_together(source: str, pointers: list[str]) -> None:
    secret = {"sunbird": "u-1", "homepagevisit": "779977", "activity_stream": "c-1", "contentsquare": "phone-1"}[source]
    event = event_of(source)
    if source == "homepagevisit":
        event = event | {"event": event["event"] | {"user_id": 779977}}
    landed = {"pid": 1, "uid": "phone-1", "pl": [event]} if source == "contentsquare" else event
    rules = of_pointers(source, dict.fromkeys(pointers, "hash"))
    row, plain = row_of(source, landed, rules), row_of(source, landed)
    assert f'"{secret}"' not in repr(row).replace("'", '"')
    assert secret not in row["session_input"]["key"]
    assert plain["session_input"]["key"] != row["session_input"]["key"]
    assert row["session_input"]["key"] == row_of(source, landed, rules)["session_input"]["key"]
    column = "user_id" if "user_id" in SOURCES[source].ids else "device_id"
    assert row[column] == pseudonym(plain[column], "some salt")
    kept = {"event_id", "event_type", "event_time", "flags", "page"}
    assert {name: row[name] for name in kept} == {name: plain[name] for name in kept}


def test_someone_who_has_not_signed_in_stays_so_when_ids_are_hashed() -> None:
    rules = of_pointers("sunbird", {"/actor/id": "hash"})
    assert row_of("sunbird", sunbird(actor={"id": "anonymous", "type": "User"}), rules)["user_id"] is None
    assert row_of("sunbird", sunbird(actor={"id": "d-1", "type": "User"}), rules)["user_id"] is None


def test_an_id_that_is_an_address_becomes_its_own_pseudonym() -> None:
    rows = [row_of("sunbird", sunbird(actor={"id": f"{name}@b.example", "type": "User"})) for name in ("a", "c")]
    assert "@" not in repr(rows)
    assert rows[0]["user_id"] != rows[1]["user_id"]
    assert rows[0]["session_input"]["key"] != rows[1]["session_input"]["key"]
    assert rows[0]["user_id"] == json.loads(rows[0]["context"])["actor"]["id"]


@pytest.mark.parametrize("source", sorted(EVENTS))
def test_an_allowlist_keeps_the_columns_and_drops_the_rest(source: str) -> None:
    event = event_of(source)
    rules = PrivacyRules(
        sources={source: SourceRules(default="drop", pointers={"/page": "keep", "/ea": "keep", "/wiki": "keep", "/ver": "keep"})}
    )
    row, plain = row_of(source, event, rules), row_of(source, event)
    documents = [json.loads(row[name]) for name in ("properties", "context")]
    assert set().union(*documents) <= {"page", "ea", "wiki", "ver"}
    assert documents != [json.loads(plain[name]) for name in ("properties", "context")]
    assert {name: value for name, value in row.items() if name not in ("properties", "context")} == {
        name: value for name, value in plain.items() if name not in ("properties", "context")
    }


# --- pseudonyms


def test_a_pseudonym_is_an_hmac_sha256_in_upper_case() -> None:
    assert SALT.of("some string value", DATE) == "3BF2B893B2A0F57586E7CF73AF0690F061FAA9546F2C385AD93174BB9A81468C"


def test_a_salt_holds_from_its_date_on_and_joins_hold_within_its_period() -> None:
    salts = Pseudonyms((Salt(dt.date(2026, 12, 1), "b"), Salt(dt.date(2026, 1, 1), "a")))
    november, december = dt.date(2026, 11, 30), dt.date(2026, 12, 1)
    assert salts.of("x", dt.date(2026, 1, 1)) == salts.of("x", november) == pseudonym("x", "a")
    assert salts.of("x", december) == pseudonym("x", "b")
    assert "secret" not in repr(Salt(DATE, "secret"))


def configured(tmp_path: Path, **privacy: Any) -> configuration.Settings:
    file = tmp_path / "conf.yaml"
    file.write_text(yaml.safe_dump({"privacy": privacy}))
    return configuration.load(file=file)


HASHES = {"sunbird": {"rules": {"/actor/id": "hash"}}}


def test_without_a_salt_a_rule_that_hashes_stops_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MILLRACE_SALT", raising=False)
    with pytest.raises(SettingsError, match="there is no salt: set the variable MILLRACE_SALT, or name a file"):
        privacy_rules(configured(tmp_path, sources=HASHES))


def test_salts_come_from_the_environment_or_a_file_and_reach_no_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_SALT", "some salt")
    assert privacy_rules(configured(tmp_path, sources=HASHES)).pseudonyms.of("some string value", DATE).startswith("3BF2B893")
    monkeypatch.delenv("MILLRACE_SALT")
    (tmp_path / "salt").write_text("2026-01-01 s3cret one\n2026-07-01 s3cret two\n")
    settings = configured(tmp_path, sources=HASHES, salt_file=str(tmp_path / "salt"))
    assert privacy_rules(settings).pseudonyms.of("x", DATE) == pseudonym("x", "s3cret two")
    assert "s3cret" not in repr(privacy_rules(settings))
    (tmp_path / "salt").write_text("2026-01-01 s3cret one\nnonsense\n")
    with pytest.raises(SettingsError, match='no "YYYY-MM-DD salt"') as raised:
        privacy_rules(settings)
    assert "s3cret" not in str(raised.value)


def test_rules_that_were_sent_to_another_process_do_the_same() -> None:
    rules = of_pointers("sunbird", {"/actor/id": "hash"})
    assert row_of("sunbird", sunbird(), pickle.loads(pickle.dumps(rules))) == row_of("sunbird", sunbird(), rules)


@pytest.mark.parametrize(
    ("privacy", "said"),
    [
        ({"sources": {"sunbird": {"rules": {"edata": "drop"}}}}, "edata is no json pointer"),
        ({"sources": {"sunbird": {"rules": {"/actor/id": "drop"}}}}, "cannot be dropped"),
        ({"sources": {"nowhere": {}}}, "no source is called nowhere"),
        ({"sources": {"sunbird": {"rules": {"/a": "burn"}}}}, "privacy.sources.sunbird.rules"),
        ({"raw": "encrypt"}, "encrypt needs the public key"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_in_one_line(privacy: Row, said: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f"(?i){said}") as raised:
        configured(tmp_path, **privacy)
    assert "\n" not in str(raised.value)


# --- refused records


@pytest.mark.parametrize(
    ("landed", "stored"),
    [
        (b'{"ip" : "1", "a": [ 1 ]}', b'{"ip" : "*", "a": [ 1 ]}'),
        (b'{"cookie":{"a":[12,"x"],"b":null},"c":true}', b'{"cookie":{"*":[**,"*"],"*":null},"c":true}'),
        (
            b'{"h":[{"name":"Cookie","value":"xyz"},{"value":7,"key":"ip"},{"k":"a","v":"b"}]}',
            b'{"h":[{"name":"Cookie","value":"***"},{"value":*,"key":"ip"},{"k":"a","v":"b"}]}',
        ),
        (b'{"h":[["Cookie","abc"],["a","b"],["ip",1,2]]}', b'{"h":[["Cookie","***"],["a","b"],["ip",1,2]]}'),
        (rb'{"t":"{\"ip\":\"1\u0032\",\"a\":1}"}', rb'{"t":"{\"ip\":\"*******\",\"a\":1}"}'),
        (rb'{"\u0069p":"12","a\nb":"c"}', rb'{"\u0069p":"**","a\nb":"c"}'),
        ('{"t":"é 203.0.113.7 é"}'.encode(), '{"t":"é *********** é"}'.encode()),
        (b'{"t":"a", "ip":"203', b'{"t":"a", "ip":"***'),
        (b'{"t":"a@b.example","t":"c","d":1}', b'{"t":"***********","t":"c","d":1}'),
        ('{"to\u212aen":"12"}'.encode(), '{"to\u212aen":"**"}'.encode()),
        (b"no json, ip=203.0.113.7, ok", b"no json, ip=***********, ok"),
        (b"\xff a@b.example \xff", b"\xff *********** \xff"),
        (b'{"e": 1, "eid": "x"}', b'{"e": 1, "eid": "x"}'),
        (b"", b""),
    ],
)
def test_what_is_personal_in_a_refused_record_is_masked_byte_for_byte(landed: bytes, stored: bytes) -> None:
    row = row_of("sunbird", landed) if landed else {"raw": b"", "raw_length": 0, "raw_sha256": hashlib.sha256(b"").hexdigest()}
    assert row["raw"] == stored
    assert (row["raw_length"], row["raw_sha256"]) == (len(landed), hashlib.sha256(landed).hexdigest())


def test_rules_by_pointer_mask_refused_events_alone_in_arrays_and_in_batches() -> None:
    rules = of_pointers("sunbird", {"/edata/a": "drop", "/batch/b": "hash"})
    event = b'{"edata":{"a":"x","c":"y"}}'
    assert row_of("sunbird", event, rules)["raw"] == b'{"edata":{"a":"*","c":"y"}}'
    assert row_of("sunbird", b"[" + event + b"]", rules)["raw"] == b'{"edata":{"a":"*","c":"y"}}'
    assert row_of("sunbird", b'{"b":"z","events":[' + event + b"]}", rules)["raw"] == b'{"b":"*","events":[{"edata":{"a":"*","c":"y"}}]}'


@given(st.binary(max_size=60) | st.text(st.sampled_from('{}[]:,"\\ ip1.203@a'), max_size=40).map(str.encode))
def test_masking_anything_changes_no_length_and_only_makes_asterisks(landed: bytes) -> None:
    batch, _ = to_records(SOURCES["sunbird"], list(split_lines([landed])), FileLocation("sunbird", DATE, 6, "a"), TimeRules())
    for row in batch.to_pylist():
        if row["record"] == 1 and row["position"] == 0 and b"\n" not in landed and not landed.startswith(b"["):
            content = landed.removesuffix(b"\r")
            assert len(row["raw"]) == len(content)
            assert all(after in (before, ord("*")) for before, after in zip(content, row["raw"], strict=True))


def test_refused_records_are_kept_dropped_or_encrypted_when_told() -> None:
    landed = b'{"ip":"203.0.113.7"'
    key = PrivateKey.generate()
    assert row_of("sunbird", landed, PrivacyRules(raw="keep"))["raw"] == landed
    assert row_of("sunbird", landed, PrivacyRules(raw="drop"))["raw"] is None
    encrypted = row_of("sunbird", landed, PrivacyRules(raw="encrypt", raw_key=bytes(key.public_key)))
    assert SealedBox(key).decrypt(encrypted["raw"]) == landed
    assert encrypted["raw_form"] == "encrypted"
    assert encrypted["raw_sha256"] == hashlib.sha256(landed).hexdigest()


# --- the page


def test_the_page_lists_what_the_rules_that_ship_leave() -> None:
    page = (Path(__file__).parents[1] / "docs" / "privacy.md").read_text()
    listed = page.partition("<!-- fields -->\n")[2].partition("<!-- end of fields -->")[0].splitlines()
    assert listed == stored_fields.lines(configuration.load().privacy)
