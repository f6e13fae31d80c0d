"""Secrets: fields that are dropped by their name, however it is written and wherever they stand; everything else is kept."""

from __future__ import annotations

import copy
import datetime as dt
import hashlib
import json
from pathlib import Path
from random import Random
from typing import Any

import extreme_documents
import pytest
import yaml
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from one_batch import to_records

from jobs import settings as configuration
from jobs.errors import SettingsError
from jobs.rules import privacy_rules
from transforms.documents.json_documents import canonical
from transforms.ingest.lines import split_lines
from transforms.ingest.records import FileLocation, TimeRules
from transforms.privacy.privacy_rules import PrivacyRules, SourceRules
from transforms.privacy.secret_names import SHIPPED, SHIPPED_NAMES, SecretNames, content_hash, normalised
from transforms.sources.registry import SOURCES

SECRET = "q77-is-hidden"
Row = dict[str, Any]


def cleaned(value: Any, *additional: str) -> Any:
    return SecretNames(additional).without_secrets(value).value


# --- names


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_a_field_of_a_secret_name_is_dropped_however_it_is_written_and_however_deep(name: str) -> None:
    spelt = [name.upper(), name.title(), "-".join(name), "_" + name, f" {name}\n", f"\u2013{name}\u0000"]
    document = {"a": [dict.fromkeys(spelt, SECRET) | {"kept": name}], name: None}
    assert cleaned(document) == {"a": [{"kept": name}]}


@pytest.mark.parametrize("name", ["zip", "has_cookies", "ips", "ip2", "\u00efp", "tokens_left", ""])
def test_a_name_that_merely_contains_a_secret_one_is_kept(name: str) -> None:
    document = {name: 1, "a": [{name: "x"}]}
    assert cleaned(document) is document


def test_the_value_of_a_pair_with_a_secret_name_is_dropped_and_the_pair_stays() -> None:
    pairs = [
        {"name": "Cookie", "value": SECRET, "path": "/"},
        {"key": "ip", "value": {"v": [SECRET]}},
        {"K": "X-Forwarded-For", "v": SECRET},
        {"header": "set-cookie", "Values": [SECRET]},
        ["Cookie", SECRET],
        {"name": "page", "value": "kept"},
        {"name": 7, "value": "kept"},
        ["page", "kept"],
        ["cookie", "kept", "too"],
    ]
    assert cleaned(pairs) == [
        {"name": "Cookie", "path": "/"},
        {"key": "ip"},
        {"K": "X-Forwarded-For"},
        {"header": "set-cookie"},
        ["Cookie"],
        *pairs[5:],
    ]


def test_json_in_text_loses_its_secrets_and_other_text_is_kept_as_it_is() -> None:
    inner = {"ip": SECRET, "a": 1}
    assert cleaned({"t": json.dumps(inner)}) == {"t": '{"a":1}'}
    assert cleaned({"t": json.dumps(json.dumps(inner))}) == {"t": json.dumps('{"a":1}')}
    assert cleaned({"t": '[{"\\u0069p": 1}]'}) == {"t": "[{}]"}
    for text in ('{ "a" : 1 }', "{ip", "ip", '"ip"', "[1, 2]", '{"a": "ip"}', ""):
        document = {"t": text, "ip": 1}
        assert cleaned(document) == {"t": text}


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (r'"cut \ud83d"', r'"cut \ud83d"'),
        (r'"\ud83d\ude00 é"', r'"\ud83d\ude00 \u00e9"'),
        ("NaN", "NaN"),
        ("1e999", '"1e999"'),
        ("9" * 400, f'"{"9" * 400}"'),
        ("9" * 5000, f'"{"9" * 5000}"'),
    ],
)
def test_json_in_text_that_no_record_could_hold_loses_its_secrets_too(value: str, written: str) -> None:
    text = f'{{"ip": "{SECRET}", "in": "{{\\"cookie\\":1}}", "t": [{value}, "\\ud83d"]}}'
    assert cleaned({"t": text}) == {"t": f'{{"in":"{{}}","t":[{written},"\\ud83d"]}}'}


def test_the_document_itself_is_left_as_it_is() -> None:
    document = {"a": {"ip": 1}, "b": [{"cookie": 2, "t": '{"ip":1}'}]}
    before = copy.deepcopy(document)
    cleaned(document)
    assert document == before


def test_secrets_are_found_at_the_greatest_depth() -> None:
    deep: Any = {"ip": SECRET}
    for _ in range(1023):
        deep = [deep]
    assert SECRET.encode() not in canonical(cleaned(deep))


_texts = st.text(st.sampled_from("ipIP\u0130kK\u212a_-\u0000\n\"\\ {}[]:'") | st.characters(exclude_categories=["Cs"]), max_size=6)
_names = st.sampled_from(["a", "ip", "C_lient.Ip", "key", "name", "value", "coo\u212aie", "e-mail"]) | _texts
_documents = st.recursive(
    st.none() | st.integers(-9, 9) | _names,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(_names, inner, max_size=3)
        | inner.map(json.dumps)
        | inner.map(lambda value: json.dumps(value, ensure_ascii=False))
    ),
    max_leaves=12,
)


@examples(max_examples=300, deadline=None)
@given(_documents)
@example({"\u0130p": 1})
@example({"i\u0000p": 1})
def test_the_look_over_the_text_misses_no_document_with_a_secret(document: Any) -> None:
    names = SecretNames(["\u0130d-Karte"])
    has_secret = names.without_secrets(document).value is not document
    assert not has_secret or names.search.matching([canonical(document)])


# --- ids


def test_an_id_by_content_knows_neither_the_order_of_keys_nor_the_fields_of_shipped_names() -> None:
    hashed = content_hash("sunbird", {"a": 1, "b": 2})
    assert hashed == content_hash("sunbird", {"b": 2, "Client-Ip": "1.2.3.4", "a": 1})
    assert hashed != content_hash("sunbird", {"a": 1, "b": 2.0})
    assert hashed != content_hash("homepagevisit", {"a": 1, "b": 2})
    assert hashed == hashlib.sha256(b'sunbird\n{"a":1,"b":2}').hexdigest()


@pytest.mark.parametrize("user_agent", ["Mozilla/5.0", {"name": "x"}])
def test_the_user_agent_is_part_of_an_id_by_content_without_the_shipped_names_in_it(user_agent: Any) -> None:
    ping = {"action": "activity_stream_event", "client_id": "c", "addon_version": "1", "page": "p", "event": "e", "tab_id": "t"}
    ping["ua"] = user_agent
    landed = {**ping, "ip": SECRET} | ({"ua": {**user_agent, "cookie": SECRET}} if isinstance(user_agent, dict) else {})
    expected = hashlib.sha256(b"activity_stream\n" + canonical(ping)).hexdigest()
    kept = PrivacyRules(sources={"activity_stream": SourceRules(pointers={"/ip": "keep"})})
    assert [_accepted("activity_stream", landed, rules=rules)["event_id"] for rules in (PrivacyRules(), kept)] == [expected] * 2


def test_a_configured_name_and_the_value_of_a_pair_never_change_an_id() -> None:
    ping = {"action": "activity_stream_event", "client_id": "c", "addon_version": "1", "page": "p", "event": "e", "tab_id": "t"}
    ping |= {"msisdn": SECRET, "pairs": [{"name": "ip", "value": SECRET}], "ip": SECRET}
    plain, configured = (_accepted("activity_stream", ping, SecretNames(added)) for added in ([], ["MSISDN"]))
    without_ip = {name: value for name, value in ping.items() if name != "ip"}
    assert plain["event_id"] == configured["event_id"] == hashlib.sha256(b"activity_stream\n" + canonical(without_ip)).hexdigest()
    assert "msisdn" in plain["properties"]
    assert "msisdn" not in configured["properties"]


# --- records of every source


def _accepted(source: str, document: Any, names: SecretNames = SHIPPED_NAMES, rules: PrivacyRules | None = None) -> Row:
    location = FileLocation(source, dt.date(2026, 11, 20), 6, "part.jsonl")
    batch, _ = to_records(SOURCES[source], list(split_lines([canonical(document)])), location, TimeRules(), rules or PrivacyRules(names))
    [row] = batch.to_pylist()
    assert row["status"] == "accepted", row["detail"]
    return dict(row)


def _planted(random: Random) -> tuple[Row, Row]:
    """Fields that hold the secret in one of its guises, and what has to be left of them."""
    name = "".join(random.choice([letter, letter.upper(), letter + random.choice("_-. ")]) for letter in random.choice(sorted(SHIPPED)))
    value = random.choice([SECRET, [SECRET], {"deep": [{"er": SECRET}]}])
    field: tuple[Any, Any] = ({name: value, "kept": 1}, {"kept": 1})
    mark, holder = random.choice(["name", "key", "k", "header", "Name"]), random.choice(["value", "values", "v", "Value"])
    secret, left = random.choice([field, ({mark: name, holder: value, "kept": 1}, {mark: name, "kept": 1})])
    for _ in range(random.randrange(3)):
        secret, left = random.choice([([secret, "x"], [left, "x"]), ({"inner": secret}, {"inner": left})])
    for _ in range(random.randrange(3)):
        secret, left = (canonical(part).decode() for part in (secret, left))
    return {"planted": secret}, {"planted": left}


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """One document of every kind that the generator writes."""
    return extreme_documents.kinds(tmp_path_factory.mktemp("generated"))


@pytest.mark.parametrize("source", sorted(SOURCES))
def test_a_secret_in_any_guise_is_in_no_column_and_all_else_is_as_without_it(source: str, documents: dict[str, list[Any]]) -> None:
    random = Random(17)
    for document in documents[source]:
        for _ in range(12):
            path = random.choice(_open_places(source, document))
            secret, left = _planted(random)
            with_secret, with_left = (_with_fields(document, path, fields) for fields in (secret, left))
            row, expected = _accepted(source, with_secret), _accepted(source, with_left)
            assert SECRET not in repr(row), with_secret
            if source == "activity_stream":  # whose ids are hashes of the content, the values of pairs too
                for each in (row, expected):
                    each.pop("event_id"), each.pop("event_hash")
            assert row == expected, with_secret


def _open_places(source: str, document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where a document may have fields that no schema names."""
    if source == "homepagevisit":
        return [(name,) for name in ("event", "meta")]
    lists = [name for name in extreme_documents.LISTS if isinstance(document.get(name), list)]
    if lists:
        return [(), (lists[0], 0)]
    # The values of a METRICS event are numbers.
    open_parts = [
        name for name in ("edata", "context", "actor") if isinstance(document.get(name), dict) and document.get("eid") != "METRICS"
    ]
    return [(), *[(name,) for name in open_parts]]


def _with_fields(document: Any, path: tuple[Any, ...], fields: Row) -> Any:
    changed = copy.deepcopy(document)
    node = changed
    for step in path:
        node = node[step]
    node |= fields
    return changed


def _batch(*events: Row) -> Row:
    return {"pid": 1, "uid": "u", "pl": list(events)}


@pytest.mark.parametrize(
    "event",
    [
        {"ea": 18, "k": "ip", "v": SECRET},
        {"ea": 18, "k": "X_Forwarded_For", "v": SECRET},
        {"ea": 18, "k": "log", "v": json.dumps({"ip": SECRET})},
        {"ea": 4, "st": json.dumps([{"name": "Cookie", "value": SECRET}])},
    ],
)
def test_a_variable_or_title_that_is_secret_is_in_no_column(event: Row) -> None:
    row = _accepted("contentsquare", _batch({"euid": "e", "sn": 1, "t": 1795132800000} | event))
    assert SECRET not in repr(row)
    assert row["session_input"]["variable_key"] == event.get("k")


def test_an_integer_variable_with_a_secret_name_has_no_value() -> None:
    row = _accepted("contentsquare", _batch({"euid": "e", "sn": 1, "t": 1795132800000, "ea": 19, "k": "phone", "v": 491701234}))
    assert row["session_input"]["variable_value"] is None
    assert "491701234" not in repr(row)


def test_log_lines_of_an_interface_keep_no_address() -> None:
    params = [{"uip": SECRET}, {"X_Forwarded_For": SECRET}, {"status": 200}]
    log = {"eid": "LOG", "ets": 1795132800000, "ver": "3.0", "mid": "l1", "actor": {"id": "svc", "type": "System"}}
    log |= {"context": {"channel": "ch", "env": "h"}, "edata": {"type": "api_access", "level": "INFO", "message": "", "params": params}}
    row = _accepted("sunbird", log)
    assert SECRET not in repr(row)
    assert json.loads(row["properties"])["params"] == [{}, {}, {"status": 200}]


def test_an_id_that_holds_a_secret_is_replaced_and_still_told_from_others() -> None:
    def event(mid: str) -> Row:
        log = {"eid": "LOG", "ets": 1795132800000, "ver": "3.0", "mid": mid, "actor": {"id": "svc", "type": "System"}}
        return log | {"context": {"channel": "ch", "env": "h"}, "edata": {"type": "x", "level": "INFO", "message": ""}}

    rows = [_accepted("sunbird", event(json.dumps({"ip": f"{SECRET}{number}", "n": 1}))) for number in (1, 2, 2)]
    assert SECRET not in repr(rows)
    first, second, again = (row["event_id"] for row in rows)
    assert first != second == again
    assert _accepted("sunbird", event('{"n":1}'))["event_id"] == '{"n":1}'


def test_a_configured_name_is_dropped_from_columns_too() -> None:
    event = {
        "euid": "e",
        "sn": 1,
        "t": 1795132800000,
        "ea": 18,
        "k": "device Serial",
        "v": SECRET,
        "tvid": json.dumps({"deviceSerial": SECRET}),
    }
    assert SECRET in repr(_accepted("contentsquare", _batch(event)))
    assert SECRET not in repr(_accepted("contentsquare", _batch(event), SecretNames(["deviceSerial"])))


# --- the configuration


def test_the_configuration_ships_the_names_that_ids_depend_on() -> None:
    assert set(privacy_rules(configuration.load()).names.names) > SHIPPED


def _settings(tmp_path: Path, **secrets: list[str]) -> configuration.Settings:
    file = tmp_path / "conf.yaml"
    file.write_text(yaml.safe_dump({"privacy": secrets}))
    return configuration.load(file=file)


def test_a_name_can_be_added(tmp_path: Path) -> None:
    rules = privacy_rules(_settings(tmp_path, additional_names=["Device-Serial"]))
    assert normalised("deviceSerial") in rules.names.added


@pytest.mark.parametrize(
    ("secrets", "said"),
    [
        ({"names": ["ip"]}, "the names on which ids depend cannot be removed, accesstoken is missing"),
        ({"additional_names": ["mid"]}, "the formats require the field mid"),
        ({"additional_names": ["--"]}, "a name has letters or digits"),
    ],
)
def test_a_list_that_cannot_be_is_refused_in_one_line(secrets: dict[str, list[str]], said: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=said):
        _settings(tmp_path, **secrets)
