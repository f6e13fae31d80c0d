"""The two Delta jars that Spark needs. They are fetched once at set-up, so that no session needs the network.

    python -m jobs.engine.delta_jars

They are fetched by Spark's own resolver, so a mirror or a proxy is configured as for Spark (`spark.jars.ivySettings`).
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from jobs.engine.java import require_java
from jobs.errors import MillraceError, SetupError

# group:artifact:version, as the resolver names it, and the SHA-256 of the jar. The versions follow `delta-spark` in pyproject.toml.
JARS = {
    "io.delta:delta-spark_4.2_2.13:4.4.0": "27d4fd8b1f879535c573ed1c718177d6a27f24d3e626ba02e216369725721ead",
    "io.delta:delta-storage:4.4.0": "c46735481fa8e326b0957be02b4420cbcab4b325bb08009b7f2045a95133f1cc",
}
# All else that the two ask for: Spark ships it, or only the connectors that are off by default use it.
EXCLUDED = ("io.delta:delta-kernel*", "io.unitycatalog:*", "com*:*", "org*:*")
PATIENCE_SECONDS = 600


def delta_jars() -> list[Path]:
    """The Delta jars of this Python environment, each as it was when it was checked in.

    Raises SetupError when one is missing or is not the one that it should be.
    """
    for coordinate in JARS:
        if not _is_intact(coordinate):
            raise SetupError(
                f"{_path(coordinate)} is missing or damaged: run `make setup`, or `{sys.executable} -m jobs.engine.delta_jars`"
            )
    return [_path(coordinate) for coordinate in JARS]


def fetch_delta_jars() -> None:
    """Put the Delta jars where `delta_jars` finds them. Does nothing when they are there; leaves none half-written.

    Raises SetupError when Java or PySpark is missing, when they cannot be fetched, and when what was fetched is something else.
    """
    if all(_is_intact(coordinate) for coordinate in JARS):
        return
    folder = _folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Within the folder: a rename into place is atomic on one file system only.
        with TemporaryDirectory(dir=folder) as scratch:
            _resolve(Path(scratch))
            for coordinate, expected in JARS.items():
                group, artifact, version = coordinate.split(":")
                fetched = Path(scratch, "jars", f"{group}_{artifact}-{version}.jar")
                if _sha256(fetched) != expected:
                    raise SetupError(f"what was fetched as {coordinate} is not that jar (its SHA-256 differs): it was thrown away")
                fetched.replace(_path(coordinate))
    except OSError as error:
        raise SetupError(f"the Delta jars cannot be kept in {folder} ({error.strerror}): make it writable") from error


def _resolve(scratch: Path) -> None:
    """Let spark-submit resolve the jars into `scratch`, by running an empty program."""
    require_java()
    pyspark = find_spec("pyspark")
    if pyspark is None or pyspark.origin is None:
        raise SetupError("PySpark is not installed in this Python: run `make setup`")
    spark_home = Path(pyspark.origin).parent
    program = scratch / "nothing.py"
    program.touch()
    command = [
        str(spark_home / "bin" / "spark-submit"),
        *("--master", "local[1]"),
        *("--conf", f"spark.jars.ivy={scratch}"),
        *("--packages", ",".join(JARS)),
        *("--exclude-packages", ",".join(EXCLUDED)),
        str(program),
    ]
    environment = os.environ | {"SPARK_HOME": str(spark_home), "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    try:
        subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_SECONDS, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        log = _folder() / "resolver.log"
        log.write_bytes((error.stdout or b"") + (error.stderr or b""))
        raise SetupError(f"the Delta jars could not be fetched: check the network and try again; {log} has the resolver's words") from error


def _folder() -> Path:
    # Beside the running interpreter, so that every session of this environment finds them and none of another does.
    return Path(sys.prefix, "share", "millrace", "jars")


def _path(coordinate: str) -> Path:
    _, artifact, version = coordinate.split(":")
    return _folder() / f"{artifact}-{version}.jar"


def _is_intact(coordinate: str) -> bool:
    path = _path(coordinate)
    return path.is_file() and _sha256(path) == JARS[coordinate]


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


if __name__ == "__main__":
    try:
        fetch_delta_jars()
    except MillraceError as error:
        raise SystemExit(str(error)) from None
