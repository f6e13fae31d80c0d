"""Which columns of a result hold numbers that name something, such as years, ids and hashes: no thousands separators there.

The expression decides for a computed column, whatever its name: `max(year(start_time)) AS latest` is a year, and `count(DISTINCT
user_id)` is a count. The contract decides for a column of a table, name and type for any other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa

from jobs.lake.query_tree import Node, QueryTree
from schemas.catalog import TABLES

# Functions of DuckDB that give a part of a date or a time since 1970.
_DATE_PART = re.compile(
    r"century|date_?part|day|dayof(month|week|year)|decade|epoch|epoch_[mnu]s|hour|iso(dow|year)|julian|microsecond|millennium|millisecond"
    r"|minute|month|quarter|second|week|weekday|weekofyear|year|yearweek"
)
_HASH = re.compile(r"crc32|hash|md5_number(_lower|_upper)?")
# Functions whose result is one of their arguments.
_CHOOSING = re.compile(
    r"any_value|arbitrary|arg_(max|min)|coalesce|first|first_value|greatest|if|ifnull|lag|last|last_value|lead|least|(max|min)(_by)?|mode"
    r"|nth_value|nullif|quantile_disc|unnest"
)
# With a constant, these make another name: the year before, the month as yyyymm.
_ARITHMETIC = frozenset(["+", "-", "*", "/", "//", "%"])
# Only an unsigned 64- or 128-bit number can be a hash; no column of a table is one.
_HASH_TYPES = frozenset(["UBIGINT", "UHUGEINT"])
# The last word of a name, and words that show that it counts or measures nevertheless.
_NAMING_WORD = re.compile(
    r"checksum|code|date|day|epoch|hash|hour|id|isoyear|key|minute|month|port|quarter|second|timestamp|version|week|year|year(month|week)"
    r"|yyyymm(dd)?|zip"
)
_COUNTING_WORD = re.compile(r"avg|count|mean|median|n|number|per|rate|share|sum|total")
_CALL = re.compile(r'(?:\w+\.)?"?(\w+)"?\((.*)\)')


def are_plain(names: Sequence[str], types: Sequence[str], tree: QueryTree) -> list[bool]:
    """Per column of a query's result whether its numbers are printed without thousands separators."""
    expressions = _expressions(tree.select_list, len(names))
    judge = _Judge(tree)
    return [
        kind in _HASH_TYPES or (judge.names_something(expression) if expression is not None else judge.by_name(name))
        for name, kind, expression in zip(names, types, expressions, strict=True)
    ]


def _expressions(select_list: Sequence[Node], columns: int) -> list[Node | None]:
    """The expression of each column of the result; None where `*` stands for the columns of a table."""
    stars = [position for position, node in enumerate(select_list) if node.get("class") == "STAR"]
    if not stars:
        return list(select_list) if len(select_list) == columns else [None] * columns
    before, after = list(select_list[: stars[0]]), list(select_list[stars[-1] + 1 :])
    return [*before, *[None] * (columns - len(before) - len(after)), *after]


class _Judge:
    """Tells expressions whose numbers name something from those that measure."""

    def __init__(self, tree: QueryTree) -> None:
        self._aliases = tree.aliases
        self._open: set[str] = set()  # aliases that are being looked up: a column may have the alias of its own name

    def names_something(self, node: Node) -> bool:
        """Whether the numbers of an expression name something."""
        match node.get("class"):
            case "COLUMN_REF":
                return self.by_name(node["column_names"][-1])
            case "CAST":
                return self.names_something(node["child"])
            case "CASE":
                results = [check["then_expr"] for check in node["case_checks"]] + [node["else_expr"]]
                return self._all_name(results)
            case "FUNCTION" | "AGGREGATE" | "WINDOW":
                return self._function_names(node["function_name"].lower(), _arguments(node))
            case "OPERATOR":
                return node["type"] == "OPERATOR_COALESCE" and self._all_name(_arguments(node))
            case "SUBQUERY":
                return any(map(self.names_something, QueryTree(node["subquery"]["node"]).select_list))
            case "CONSTANT":
                return _by_name_alone(node["alias"])
        return False

    def by_name(self, name: str) -> bool:
        """Whether the numbers of a column of this name name something."""
        lower = name.lower()
        if lower in self._aliases and lower not in self._open:
            self._open.add(lower)
            try:
                return any(map(self.names_something, self._aliases[lower]))
            finally:
                self._open.discard(lower)
        return _by_name_alone(lower)

    def _function_names(self, function: str, arguments: Sequence[Node]) -> bool:
        if _DATE_PART.fullmatch(function):
            # Of a difference of two times it is a duration.
            return not any(_is_difference(argument) for argument in arguments)
        if _CHOOSING.fullmatch(function):
            return self._all_name(arguments[1:] if function == "if" else arguments[:1])
        if function in _ARITHMETIC and len(arguments) == 2:
            named = [argument for argument in arguments if not _is_constant(argument)]
            is_distance = function == "-" and len(named) == 2
            return not is_distance and self._all_name(named)
        return _HASH.fullmatch(function) is not None

    def _all_name(self, nodes: Sequence[Node]) -> bool:
        named = [node for node in nodes if not _is_constant(node)]
        return bool(named) and all(map(self.names_something, named))


def _by_name_alone(name: str) -> bool:
    """Whether numbers of this name name something: by the contracts of the tables, else by the words of the name."""
    lower = name.lower()
    if (of_contract := _by_contract(lower)) is not None:
        return of_contract
    if call := _CALL.fullmatch(lower):
        # The name of a computed column that has no alias.
        function, argument = call.groups()
        return any(kind.fullmatch(function) for kind in (_DATE_PART, _HASH)) or (
            _CHOOSING.fullmatch(function) is not None and _by_name_alone(argument)
        )
    words = re.split(r"[_\W]+", lower)
    return _NAMING_WORD.fullmatch(words[-1]) is not None and not any(map(_COUNTING_WORD.fullmatch, words))


def _by_contract(name: str) -> bool | None:
    """Whether numbers of the tables' columns of this name name something: parts of a key, and times since 1970; None if there are none."""
    found = [(table, column) for table in TABLES.values() for column in table.columns if column.name == name]
    numbers = [(table, column) for table, column in found if pa.types.is_integer(column.type)]
    if any(name in table.key or (column.unit or "").startswith("epoch") for table, column in numbers):
        return True
    return False if any(column.unit for _, column in numbers) else None


def _arguments(node: Node) -> list[Node]:
    if "children" in node:
        return list(node["children"])
    return [argument["expression"] for argument in node.get("arguments", ())]


def _is_constant(node: Node) -> bool:
    return node.get("class") == "CONSTANT"


def _is_difference(node: Node) -> bool:
    return node.get("class") == "FUNCTION" and node["function_name"] in ("-", "age")
