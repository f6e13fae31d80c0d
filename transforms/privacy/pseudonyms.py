"""Pseudonyms: texts that stand for others, which only the holder of the salt can find again."""

from __future__ import annotations

import datetime as dt
import hmac
from functools import lru_cache
from typing import NamedTuple

_CACHED = 65_536


class Salt(NamedTuple):
    """A salt, and the first landing date on which it is used."""

    since: dt.date
    secret: str

    def __repr__(self) -> str:
        return f"Salt({self.since}, …)"


class Pseudonyms:
    """HMAC-SHA256 of texts, in upper-case hexadecimal, with the salt of a landing date."""

    def __init__(self, salts: tuple[Salt, ...] = ()) -> None:
        self._salts = tuple(sorted(salts))

    @property
    def first_date(self) -> dt.date | None:
        """The first landing date that has a salt; None without salts."""
        return self._salts[0].since if self._salts else None

    @property
    def fingerprints(self) -> list[str]:
        """Per salt its first date and 32 bits of a hash, by which a changed salt is noticed."""
        return [f"{salt.since}:{pseudonym('fingerprint', salt.secret)[:8]}" for salt in self._salts]

    def of(self, text: str, date: dt.date) -> str:
        """The pseudonym of a text that landed on a date. Before the first salt's date, the first salt is used; without salts, none."""
        return pseudonym(text, self._secret(date))

    def of_every_period(self, text: str) -> list[str]:
        """The pseudonyms of a text, one per salt."""
        return [pseudonym(text, salt.secret) for salt in self._salts] or [pseudonym(text, "")]

    def _secret(self, date: dt.date) -> str:
        secret = self._salts[0].secret if self._salts else ""
        for salt in self._salts:
            if salt.since <= date:
                secret = salt.secret
        return secret


@lru_cache(maxsize=_CACHED)
def pseudonym(text: str, salt: str) -> str:
    """HMAC-SHA256 of a text with a salt, both as UTF-8, in upper-case hexadecimal."""
    return hmac.digest(salt.encode(), text.encode(), "sha256").hex().upper()
