"""The classes that a night needs, archived for the JVM: Spark starts in a third of the time.

    python -m jobs.engine.class_archive

Without it, two thirds of the time of a small night go into loading and verifying some twenty thousand classes. The JVM can keep them
in a file (class data sharing). The set-up makes this file once, by running a small generated night.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from jobs.engine.java import require_java
from jobs.errors import MillraceError

REHEARSED_EVENTS = 300
_TIMEOUT_SECONDS = 180
_QUIET = "-Xlog:disable -Xlog:all=error:stderr"


def options() -> str:
    """The JVM options that use the archive; empty if there is none for this Java and this Spark."""
    path = _path()
    return f"-XX:SharedArchiveFile={path} {_QUIET}" if path.is_file() else ""


def make() -> None:
    """Make the archive, unless there is one.

    Raises MillraceError when the rehearsal fails. If the JVM writes no archive, that is no error: everything works without it.
    """
    path = _path()
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent) as scratch:
        archive = Path(scratch, "classes.jsa")
        _rehearse(Path(scratch), f"-XX:ArchiveClassesAtExit={archive} {_QUIET}")
        # The JVM still writes the file after the program that started it has ended.
        until = time.monotonic() + _TIMEOUT_SECONDS
        while not _is_whole(archive) and time.monotonic() < until:
            time.sleep(0.5)
        if archive.is_file():
            archive.replace(path)


def _rehearse(folder: Path, java_options: str) -> None:
    """Run a small night, in a process of its own whose JVM ends with it."""
    program = (
        "from jobs import settings; from jobs.commands import run_nights; from jobs.generator.generate import generate\n"
        "from pathlib import Path; import datetime as dt\n"
        f"night = dt.date(2026, 11, 20); folder = Path({str(folder)!r})\n"
        f"generate(folder / 'landing', night, events={REHEARSED_EVENTS}, workers=1)\n"
        f"of_rehearsal = settings.load('spark').at(folder / 'landing', folder / 'lake').with_java_options({java_options!r})\n"
        "run_nights.run(of_rehearsal, [night], [], 'rehearsal')"
    )
    try:
        subprocess.run([sys.executable, "-c", program], stdin=subprocess.DEVNULL, capture_output=True, timeout=600, check=True)
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines()
        raise MillraceError(f"a rehearsed night failed: {said[-1] if said else 'it said nothing'}") from None


def _is_whole(archive: Path) -> bool:
    """Whether the JVM has written the file to its end: it makes it read-only then."""
    return archive.is_file() and not archive.stat().st_mode & 0o200


def _path() -> Path:
    """The path of the archive, below the prefix of the interpreter. Each version of Java, Spark and Delta has its own name."""
    java = require_java().resolve()
    versions = f"{java} {java.stat().st_mtime_ns} {version('pyspark')} {version('delta-spark')}"
    return Path(sys.prefix, "share", "millrace", f"classes-{hashlib.sha256(versions.encode()).hexdigest()[:16]}.jsa")


if __name__ == "__main__":
    try:
        make()
    except MillraceError as error:
        raise SystemExit(str(error)) from None
