"""The syntax tree of a query, as DuckDB's own parser gives it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

Node = Mapping[str, Any]


@dataclass(frozen=True)
class QueryTree:
    """What a SELECT statement says, before names are looked up. Of any other statement it is empty."""

    root: Node

    @classmethod
    def of(cls, connection: duckdb.DuckDBPyConnection, query: str) -> QueryTree:
        """The tree of a query; an empty one if the query is not one SELECT statement."""
        try:
            (text,) = connection.cursor().execute("SELECT json_serialize_sql($query)", {"query": query}).fetchall()[0]
        except duckdb.Error:
            return cls({})
        statements = json.loads(text).get("statements") or [{}]
        return cls(statements[0].get("node") or {})

    @property
    def select_list(self) -> Sequence[Node]:
        """The expressions of the result's columns. Of a UNION they are those of its first query."""
        node = self.root
        while node.get("type") == "SET_OPERATION_NODE" and node.get("children"):
            node = node["children"][0]
        selected: Sequence[Node] = node.get("select_list", ())
        return selected

    @property
    def tables(self) -> Mapping[str, str]:
        """The tables that the query names, at any depth, by their alias or else by their name."""
        named = (node for node in _nodes(self.root) if node.get("type") == "BASE_TABLE")
        return {node.get("alias") or node["table_name"]: node["table_name"] for node in named}

    @property
    def common_tables(self) -> set[str]:
        """The names of the query's WITH clauses."""
        maps = (node["cte_map"]["map"] for node in _nodes(self.root) if isinstance(node.get("cte_map"), dict))
        return {entry["key"] for entries in maps for entry in entries}

    @property
    def aliases(self) -> Mapping[str, Sequence[Node]]:
        """The expressions that the query and its subqueries name with AS, by name in lower case."""
        found: dict[str, list[Node]] = {}
        for node in _nodes(self.root):
            for expression in node.get("select_list", ()):
                if alias := expression.get("alias"):
                    found.setdefault(alias.lower(), []).append(expression)
        return found


def _nodes(value: Any) -> Iterator[Node]:
    """All objects of the tree, the outermost first."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _nodes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _nodes(inner)
