"""What a source is to the DuckDB peer: SQL expressions that open a line, say what is valid, and map it to `events`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from transforms.privacy.secret_names import SHIPPED

# Used by the expressions below; JSON numbers are of one kind here, however they are written.
MACROS = r"""
CREATE MACRO kinds(document, paths) AS
    list_transform(json_type(document, paths), lambda kind: CASE WHEN kind IN ('UBIGINT', 'BIGINT', 'DOUBLE') THEN 'NUMBER' ELSE kind END);
CREATE MACRO identifier(name) AS CASE WHEN name NOT IN ('', 'n/a', 'N/A') THEN name END;
CREATE MACRO has_id(document, path, value) AS identifier(value) IS NOT NULL AND json_type(document, path) = 'VARCHAR';
CREATE MACRO reported_number(number) AS CASE WHEN number <> -1 THEN number END;
CREATE MACRO whole(number) AS CAST(round(number) AS BIGINT);
CREATE MACRO text_ms(time) AS epoch_ms(TRY_CAST(time AS TIMESTAMPTZ));
CREATE MACRO server_ms(time) AS coalesce(CAST(floor(TRY_CAST(time AS DOUBLE)) AS BIGINT), text_ms(time || '+00'));
CREATE MACRO sent_ms(ets) AS CAST(floor(CASE WHEN ets < 1e11 THEN ets * 1000 ELSE ets END) AS BIGINT);
-- Of minified JSON. A secret that is an object or a list stays: no sender has one.
CREATE MACRO without_secrets(document) AS CASE WHEN regexp_matches(document, '(?i)"(?:{secrets})":') THEN regexp_replace(
    regexp_replace(document, '(?i)"(?:{secrets})":{scalar},', '', 'g'), '(?i),?"(?:{secrets})":{scalar}', '', 'g'
) ELSE document END;
CREATE MACRO without_user_agent(document) AS
    regexp_replace(regexp_replace(document, '"(?:{agents})":{scalar},', '', 'g'), ',?"(?:{agents})":{scalar}', '', 'g');
-- An object without one field, of which `value` is the minified JSON.
CREATE MACRO without_field(document, name, value) AS replace(
    replace(document, ',"' || name || '":' || value, ''), '{{"' || name || '":' || value || ',', '{{'
);
-- Keys of the first two levels are sorted: no generated record without an id has others that would have to be.
CREATE MACRO sorted_keys(document) AS '{{' || array_to_string(list_transform(
    list_sort(map_entries(CAST(CAST(document AS JSON) AS MAP(VARCHAR, JSON)))), lambda entry: to_json(entry.key) || ':' || entry.value
), ',') || '}}';
CREATE MACRO canonical(document) AS '{{' || array_to_string(list_transform(
    list_sort(map_entries(CAST(CAST(document AS JSON) AS MAP(VARCHAR, JSON)))),
    lambda entry: to_json(entry.key) || ':' || CASE WHEN starts_with(entry.value, '{{') THEN sorted_keys(entry.value) ELSE entry.value END
), ',') || '}}';
CREATE MACRO with_header(document, header) AS CASE
    WHEN header IS NULL THEN document
    WHEN document = '{{}}' THEN '{{"batch":' || header || '}}'
    ELSE left(document, -1) || ',"batch":' || header || '}}'
END;
""".format(secrets="|".join(map(r"[-_. ]*".join, sorted(SHIPPED))), agents="ua|user-agent", scalar=r'(?:"(?:[^"\\]|\\.)*"|[^,}"\[{]+)')


@dataclass(frozen=True)
class SourceSql:
    """One source, as expressions over `line` (opening), `item` and `header` (joining), and `document`, `header` and `v` (mapping).

    All of these are minified JSON without secrets, but for `line`.
    """

    list_name: str  # the key under which a batch has its list
    is_batch: str
    is_broken_batch: str
    valid: str  # of a document that is an object
    own_id: str  # the id that a record has itself; a hash takes its place
    values: str  # what is read of a document, as json_transform wants it: the struct `v`
    columns: Mapping[str, str]  # of `events`, and those that the session and workflow rules read; what is left out is null
    joined: str = "item"  # the document that an item is with the header of its batch; where it says more, `item` can be mapped too
    parts: Mapping[str, str] = field(default_factory=dict)  # what several columns are made of
