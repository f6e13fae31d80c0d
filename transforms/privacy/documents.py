"""Apply the rules about personal data to parsed documents: drop, hash, truncate and mask their fields, at any depth."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from transforms.documents.json_documents import canonical
from transforms.privacy.patterns import NUMBER_SEARCH
from transforms.privacy.pointer_rules import Action, Nodes, action_of, at, below, steps_of, tree_of
from transforms.privacy.privacy_rules import PrivacyRules
from transforms.privacy.quick_search import QuickSearch
from transforms.privacy.secret_names import MAY_OPEN, SHIPPED, SecretNames, json_in_text

_NO_NODES: Nodes = ()
# The user agent is dropped from the documents by its name. No mapping reads it from a column's field, so columns stay as they are.
USER_AGENT_NAMES = frozenset(("useragent", "ua", "httpuseragent", "xuseragent", "xoriginaluseragent", "xdeviceuseragent"))


class Cleaned(NamedTuple):
    """A value by the rules, and what has changed in it."""

    value: Any  # the same object if nothing has changed
    changes_columns: bool = False  # whether a column may have another value without what was taken out
    changes_ids: bool = False  # whether an id became its pseudonym


class _Container(NamedTuple):
    """An object or array that is still to be searched. It is a copy, so its parts can be replaced."""

    node: Any
    nodes: Nodes
    inherited: Action | None  # the rule of a field around it


class _Changes:
    """What has changed in a value."""

    def __init__(self) -> None:
        self.anything = self.columns = self.ids = False

    def note(self, *, columns: bool = True, ids: bool = False) -> None:
        self.anything = True
        self.columns = self.columns or columns
        self.ids = self.ids or ids


class DocumentRules:
    """The rules of one source, ready to be applied to its documents."""

    def __init__(self, rules: PrivacyRules, source: str, ids: Collection[str], *, reads_user_agent: bool = False) -> None:
        own = rules.of(source)
        self._rules = rules
        self._actions = own.pointers
        self._names: SecretNames = rules.names
        self._drops_unnamed = own.default == "drop"
        self._unread = SHIPPED if reads_user_agent else SHIPPED | USER_AGENT_NAMES
        self.tree = tree_of(own.pointers)
        for pointer in ids:
            self.tree.mark_id(steps_of(pointer))
        id_pointers = set(ids)
        self.hashes_ids = any(action == "hash" and pointer in id_pointers for pointer, action in own.pointers.items())
        changing = {steps_of(pointer)[-1]: action for pointer, action in own.pointers.items() if action != "keep"}
        # A step of digits may be the index of an array, which canonical JSON does not show.
        self.searches_all = self._drops_unnamed or self.hashes_ids or any(step == "*" or step.isdigit() for step in changing)
        # Of documents that these expressions do not match, no field has a rule by its pointer, or by its name.
        expressions = [_expression(step, action) for step, action in sorted(changing.items()) if action != "truncate"]
        self.by_pointer = QuickSearch("|".join(expressions)) if expressions else None
        self.by_name = rules.names.search
        self.by_text = rules.texts.search if rules.patterns else None
        searches = (self.by_pointer, self.by_name, self.by_text)
        self.by_any = QuickSearch("|".join(search.expression for search in searches if search is not None))
        # A rule by pointer comes before that of the name. The search by pointer finds all fields that are dropped or hashed.
        self._keeps_secret_names = any(
            action not in ("drop", "hash") and rules.names.is_secret(steps_of(pointer)[-1])
            for pointer, action in own.pointers.items()
            if pointer
        )

    def without_names(self, value: Any, prefix: tuple[str, ...], pseudonym: Callable[[str], str]) -> Cleaned:
        """A value by the rules of names alone. This is quicker than `clean`."""
        if self._keeps_secret_names:
            return self.clean(value, prefix, pseudonym, texts=False)
        cleaned = self._names.without_secrets(value)
        return Cleaned(cleaned.value, cleaned.beyond_fields or not cleaned.names <= self._unread)

    def clean(
        self, value: Any, prefix: tuple[str, ...], pseudonym: Callable[[str], str], *, texts: bool, for_columns: bool = False
    ) -> Cleaned:
        """A value by the rules; `prefix` are the steps at which it stands in a record. The given value is not changed.

        With `texts`, texts are searched for addresses and keys. With `for_columns`, ids stay as they are, and so do fields that no rule
        names: that is the record from which columns are mapped.
        """
        nodes: Nodes = (self.tree,)
        for step in prefix:
            nodes = below(nodes, step)
        # Of the default `drop`, a part as a whole is exempt: it is always an object.
        changes = _Changes()
        walk = _Walk(self, pseudonym, changes, texts=texts, for_columns=for_columns)
        cleaned = walk.run(value, nodes, action_of(nodes))
        if not changes.anything:
            return Cleaned(value)
        return Cleaned(cleaned, changes.columns, changes.ids)

    def are_harmless(self, raw: bytes, document: Any) -> bool:
        """Whether no rule concerns bytes from which this document was parsed. False if that takes a closer look."""
        if self.searches_all or not raw.isascii() or b"\\" in raw:
            return False
        written = canonical(document)
        # Of fields with the same name, the document has only the last one.
        has_all_fields = written.count(b'"') == raw.count(b'"')
        return has_all_fields and not self.by_any.matching([written])

    def drops_by_default(self, nodes: Nodes, inherited: Action | None, part: Any) -> bool:
        """Whether a field that has no rule is dropped: it is within no field with a rule, and has none within it."""
        if not self._drops_unnamed or inherited is not None:
            return False
        is_container = type(part) is dict or type(part) is list
        return not (is_container and any(node.has_rules for node in nodes))

    def goes_by_name(self, steps: tuple[str, ...]) -> bool:
        """Whether a field at these steps is dropped by its name, and nothing else depends on it: no column, and no rule of a pointer."""
        has_rule = any(action_of(at((self.tree,), steps[:count])) is not None for count in range(len(steps) + 1))
        return self._names.is_secret(steps[-1]) and self.is_unread(steps[-1]) and not has_rule

    def dropped_fields(self, node: dict[str, Any]) -> list[str]:
        """The names of the fields of this object that go by their name."""
        return self._names.dropped_fields(node)

    def is_pair(self, items: list[Any]) -> bool:
        """Whether an array is a pair of a secret name and its value."""
        return self._names.is_pair(items)

    def is_unread(self, name: str) -> bool:
        """Whether no column depends on a field of this secret name."""
        return self._names.compared(name) in self._unread

    def is_user_agent(self, name: str) -> bool:
        """Whether a field of this name holds a user agent, of whose parts columns are made."""
        return self._names.compared(name) in USER_AGENT_NAMES

    def text(self, name: str, text: str, action: Action | None) -> str:
        """A text by the rule of its field."""
        if action == "truncate":
            return self._rules.texts.truncated(text)
        if action == "redact":
            return self._rules.texts_of_people.redacted(text)
        if self._names.compared(name) in self._rules.numbers:
            return self._rules.texts_of_numbers.redacted(text)
        return self._rules.texts.redacted(text)

    def is_hashed(self, pointer: str) -> bool:
        """Whether the rule of an id at this pointer is to hash it."""
        return self._actions.get(pointer) == "hash"

    def has_match(self, text: str) -> bool:
        """Whether a text has an address or a key."""
        return bool(self._rules.texts.matches(text))

    def name(self, name: str) -> str:
        """The name of a field without the addresses and keys in it."""
        return self._rules.texts.redacted(name)


class _Walk:
    """One search of a value."""

    def __init__(self, rules: DocumentRules, pseudonym: Callable[[str], str], changes: _Changes, *, texts: bool, for_columns: bool) -> None:
        self._rules = rules
        self._pseudonym = pseudonym
        self._changes = changes
        self._texts = texts
        self._for_columns = for_columns
        self._pending: list[_Container] = []

    def run(self, value: Any, nodes: Nodes, inherited: Action | None) -> Any:
        """The value by the rules."""
        root = [value]
        self._part(root, 0, "", value, nodes, None, inherited)
        while self._pending:
            node, inside, rule = self._pending.pop()
            if type(node) is dict:
                self._object(node, inside, rule)
            else:
                self._array(node, inside, rule)
        return root[0]

    def _array(self, node: list[Any], nodes: Nodes, inherited: Action | None) -> None:
        if not nodes and self._rules.is_pair(node):
            del node[1]
            self._changes.note()
        dropped = []
        for index, part in enumerate(node):
            inside = below(nodes, str(index)) if nodes else _NO_NODES
            action = action_of(inside) if inside else None
            if action == "drop":
                dropped.append(index)
            else:
                self._part(node, index, "", part, inside, action, inherited)
        for index in reversed(dropped):
            del node[index]
            self._changes.note()

    def _object(self, node: dict[str, Any], nodes: Nodes, inherited: Action | None) -> None:
        secret = self._rules.dropped_fields(node)
        for name, part in list(node.items()):
            inside = below(nodes, name) if nodes else _NO_NODES
            action = action_of(inside) if inside else None
            if self._for_columns and any(one.is_id for one in inside):
                continue
            if action == "drop":
                del node[name]
                self._changes.note()
            elif action is None and name in secret and not (self._for_columns and self._rules.is_user_agent(name)):
                del node[name]
                self._changes.note(columns=not self._rules.is_unread(name))
            elif action is None and not self._for_columns and self._rules.drops_by_default(inside, inherited, part):
                del node[name]
                # An address in it may be in a column.
                self._changes.note(columns=self._texts)
            else:
                self._part(node, name, name, part, inside, action, inherited)
        if self._texts:
            self._rename(node)

    def _part(self, node: Any, position: Any, name: str, part: Any, nodes: Nodes, action: Action | None, inherited: Action | None) -> None:
        """Replace one part of an object or array."""
        kind = type(part)
        rule = action or inherited
        is_id = any(one.is_id for one in nodes)
        if rule == "hash" and part is not None and not (self._for_columns and kind is not str):
            node[position] = self._pseudonym(part if kind is str else canonical(part).decode())
            self._changes.note(columns=not is_id, ids=is_id)
        elif kind is dict or kind is list:
            node[position] = copied = part.copy()
            self._pending.append(_Container(copied, nodes, rule))
        elif kind is str and action != "keep":
            text = self._pseudonym(part) if is_id and self._is_address(part) else self._text(name, part, rule)
            if text is not part and text != part:
                node[position] = text
                self._changes.note(columns=not is_id, ids=is_id)

    def _is_address(self, text: str) -> bool:
        return self._texts and self._rules.has_match(text)

    def _text(self, name: str, text: str, rule: Action | None) -> str:
        if text[:1] in MAY_OPEN:
            document = self._json(text)
            if document is not None:
                return document
        return self._rules.text(name, text, rule) if self._texts or rule in ("truncate", "redact") else text

    def _json(self, text: str) -> str | None:
        """Text that is JSON, by the rules of names and values; None if the text is no JSON or nothing changes."""
        parsed = json_in_text(text)
        if parsed is None:
            return None
        document, write = parsed
        changes = _Changes()
        inner = _Walk(self._rules, self._pseudonym, changes, texts=self._texts, for_columns=True)
        cleaned = inner.run(document, _NO_NODES, "keep")
        return write(cleaned).decode() if changes.anything else None

    def _rename(self, node: dict[str, Any]) -> None:
        """Mask addresses in the names of fields. A name that another field has gets underscores at its end."""
        renamed = {name: masked for name in node if (masked := self._rules.name(name)) != name}
        for name, masked in renamed.items():
            unused = masked
            while unused in node:
                unused += "_"
            node[unused] = node.pop(name)
            self._changes.note()


def _expression(step: str, action: Action) -> str:
    """An expression of QuickSearch for canonical JSON in which a rule may change a field of this name.

    Addresses and keys in it are found as in any text, so of texts that are redacted, only those with numbers are searched beyond that.
    """
    name = '"' + "".join(rf"\x{byte:02x}" for byte in canonical(step)[1:-1]) + '":'
    return name + (rf'(?:[\[{{]|"[^"]*{NUMBER_SEARCH})' if action == "redact" else "")
