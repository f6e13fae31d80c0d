"""Bytes that a command reads and writes below a lake, per table: its own, its JVM's and its workers'.

    python bench/lake_io.py LAKE millrace run --date 2026-11-20 --lake LAKE --landing LANDING

Needs strace. Counts what the system calls ask for, whether it comes from the disk or from memory.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

_CALL = re.compile(r"(p?read|p?write)(?:64)?\(\d+<([^>]*)>.* = (\d+)$")
_TRACE = ["strace", "-f", "-y", "--seccomp-bpf", "-e", "trace=read,pread64,write,pwrite64", "-o"]
_MIB = 2**20


def main(lake: str, command: list[str]) -> int:
    """Run the command and print a line per table; gives its exit code."""
    with tempfile.NamedTemporaryFile("r", errors="replace") as trace:
        code = subprocess.run([*_TRACE, trace.name, *command], check=False).returncode
        show(trace, f"{Path(lake).resolve()}/")
    return code


def show(calls: Iterable[str], below: str) -> None:
    """Print the bytes and files per table, and the sums of the tables and of what was staged."""
    sizes: Counter[tuple[str, bool]] = Counter()
    files: defaultdict[tuple[str, bool], set[str]] = defaultdict(set)
    for line in calls:
        called = _CALL.search(line.rstrip())
        if called and below in called[2]:
            inside = called[2].split(below, 1)[1].split("/")
            place = f"_staging/{inside[2]}" if inside[0] == "_staging" and len(inside) > 2 else inside[0]
            where = (f"{place}/_delta_log" if "_delta_log" in inside else place), "read" in called[1]
            sizes[where] += int(called[3])
            files[where].add(called[2])
    for name in sorted({name for name, _ in sizes}):
        amounts = [f"{sizes[name, reads] / _MIB:9.2f} MiB in {len(files[name, reads]):5} files" for reads in (True, False)]
        print(f"{name:36} read {amounts[0]}   written {amounts[1]}")
    for title, is_staged in (("tables", False), ("staging", True)):
        total = [
            sum(size for (name, r), size in sizes.items() if r is reads and name.startswith("_staging") is is_staged)
            for reads in (True, False)
        ]
        print(f"{title:36} read {total[0] / _MIB:9.2f} MiB                 written {total[1] / _MIB:9.2f} MiB")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
