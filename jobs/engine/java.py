"""Java as Spark will find it, checked before Spark is started: a missing one would only show as a dead gateway."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from jobs.errors import MillraceError, SetupError

OLDEST_JAVA = 17
REMEDY = "install OpenJDK 17 or 21 (its JRE is enough), or set JAVA_HOME to one"


def require_java() -> Path:
    """The `java` that Spark will start: that of JAVA_HOME, else the first on the PATH.

    Raises SetupError when there is none, when it does not run, or when it is older than Java 17, the oldest that Spark 4 runs on.
    """
    java = _find_java()
    major = _major_version(java)
    if major < OLDEST_JAVA:
        raise SetupError(f"Spark needs Java {OLDEST_JAVA} or newer, and {java} is Java {major}: {REMEDY}")
    return java


def _find_java() -> Path:
    home = os.environ.get("JAVA_HOME")
    if home:
        java = Path(home, "bin", "java")
        if not os.access(java, os.X_OK):
            raise SetupError(f"Spark needs Java {OLDEST_JAVA} or newer, and JAVA_HOME={home} holds no bin/java: {REMEDY}")
        return java
    found = shutil.which("java")
    if found is None:
        raise SetupError(f"Spark needs Java {OLDEST_JAVA} or newer, and there is no java on the PATH: {REMEDY}")
    return Path(found)


def _major_version(java: Path) -> int:
    """17 for `openjdk version "17.0.15" 2025-04-15`, 8 for `java version "1.8.0_292"`."""
    try:
        # macOS has a java on the PATH that only says that there is none: its exit code tells.
        output = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=True).stderr
    except (OSError, subprocess.SubprocessError):
        output = ""
    version = re.search(r'version "(?:1\.)?(\d+)', output)
    if version is None:
        raise SetupError(f"Spark needs Java {OLDEST_JAVA} or newer, and {java} does not run: {REMEDY}")
    return int(version[1])


if __name__ == "__main__":
    try:
        require_java()
    except MillraceError as error:
        raise SystemExit(str(error)) from None
