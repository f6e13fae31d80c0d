"""Find the few documents among many that an expression matches, by one pass of RE2 over all of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate

import re2

# Bytes of memory for the states of one expression, which RE2 makes as it meets them.
_MEMORY = 64 << 20


class QuickSearch:
    """An expression of RE2 over bytes, in which case is ignored. It is compiled once per process."""

    def __init__(self, expression: str) -> None:
        self.expression = expression

    def matching(self, texts: Sequence[bytes]) -> list[int]:
        """The numbers of the texts with a match, in order. Texts are canonical JSON, so none has a line feed."""
        compiled = _compiled(self.expression)
        joined = b"\n".join(texts)
        ends = list(accumulate(len(text) + 1 for text in texts))
        found: list[int] = []
        match = compiled.search(joined)
        while match is not None:
            number = bisect_right(ends, match.start())
            found.append(number)
            if ends[number] >= len(joined):
                break
            match = compiled.search(joined, ends[number])
        return found


@lru_cache(maxsize=32)
def _compiled(expression: str) -> re2._Regexp:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.case_sensitive = False
    options.max_mem = _MEMORY
    return re2.compile(expression.encode("latin-1"), options=options)
