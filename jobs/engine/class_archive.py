"""The classes that a night needs, archived for the JVM: Spark starts in a third of the time.

    python -m jobs.engine.class_archive

Two thirds of a small night's time, and of its processor time, go into loading and checking some twenty thousand classes.
The JVM can keep them ready in a file (class data sharing). The file is made once, at set-up, by rehearsing a small
generated night; without it everything works as well, only slower.
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
PATIENCE_SECONDS = 180
_QUIET = "-Xlog:disable -Xlog:all=error:stderr"


def options() -> str:
    """What tells the JVM to use the archive; nothing where there is none for this Java and this Spark."""
    path = _path()
    return f"-XX:SharedArchiveFile={path} {_QUIET}" if path.is_file() else ""


def make() -> None:
    """Make the archive, where there is none yet.

    Raises MillraceError when the rehearsal fails; an archive that does not come is no error, since nothing needs it.
    """
    path = _path()
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent) as scratch:
        made = Path(scratch, "classes.jsa")
        _rehearse(Path(scratch), f"-XX:ArchiveClassesAtExit={made} {_QUIET}")
        # The JVM outlives the program that started it for as long as it writes.
        until = time.monotonic() + PATIENCE_SECONDS
        while not _is_whole(made) and time.monotonic() < until:
            time.sleep(0.5)
        if made.is_file():
            made.replace(path)


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


def _is_whole(made: Path) -> bool:
    """Whether the JVM has written the file to its end: it makes it read-only then."""
    return made.is_file() and not made.stat().st_mode & 0o200


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
