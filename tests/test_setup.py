"""Set-up on machines that lack something, and the Delta jars that it fetches."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from jobs.engine import delta_jars
from jobs.errors import SetupError

ROOT = Path(__file__).parents[1]
JAVA_17 = 'openjdk version "17.0.15" 2025-04-15'


class Machine:
    """A checkout on a machine whose PATH holds only what a test puts there."""

    def __init__(self, folder: Path) -> None:
        self.checkout = folder / "checkout"
        self.bin = folder / "bin"
        self.bin.mkdir(parents=True)
        self.variables: dict[str, str] = {}
        modules = [f"jobs/{name}.py" for name in ("__init__", "errors", "engine/__init__", "engine/delta_jars", "engine/java")]
        for name in ("Makefile", "pyproject.toml", "requirements.lock", *modules):
            target = self.checkout / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)

    def has_python(self, version: tuple[int, int], name: str = "python3") -> None:
        """Put a Python on the PATH that takes itself for that version when it is required with -c."""
        posing = f"import sys; sys.version_info = ({version[0]}, {version[1]}, 0); exec(sys.argv.pop(1))"
        self._script(
            self.bin / name, f'if [ "$1" = -c ]; then shift; exec {sys.executable} -c "{posing}" "$@"; fi\nexec {sys.executable} "$@"'
        )

    def has_java(self, says: str, code: int = 0, home: str | None = None) -> None:
        """Put a `java` on the PATH, or in a home, that answers `-version` so, on stderr as Java does."""
        path = self.bin / "java" if home is None else self.checkout.parent / home / "bin" / "java"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._script(path, f"echo '{says}' >&2; exit {code}")

    def make(self, *arguments: str) -> tuple[int, list[str]]:
        """Exit code of make, and what was said but for make's own words."""
        make = shutil.which("make")
        assert make is not None
        environment = {"PATH": str(self.bin), "HOME": "/nonexistent", **self.variables}
        done = subprocess.run([make, *arguments], cwd=self.checkout, env=environment, capture_output=True, text=True)
        return done.returncode, [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("make: ")]

    @staticmethod
    def _script(path: Path, body: str) -> None:
        path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        path.chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("python", [(3, 11), (3, 12), (3, 13)])
@pytest.mark.parametrize("java", [JAVA_17, 'openjdk version "21" 2023-09-19', f"Picked up JAVA_TOOL_OPTIONS: -Xmx1g\n{JAVA_17}"])
def test_a_machine_with_python_and_java_is_told_nothing(machine: Machine, python: tuple[int, int], java: str) -> None:
    machine.has_python(python)
    machine.has_java(java)
    assert machine.make("machine") == (0, [])


@pytest.mark.parametrize("python", [(3, 10), (3, 14)])
def test_another_python_stops_set_up_with_one_line(machine: Machine, python: tuple[int, int]) -> None:
    machine.has_python(python)
    machine.has_java(JAVA_17)
    code, (line,) = machine.make("setup")
    assert code != 0
    assert "needs Python 3.11, 3.12 or 3.13" in line
    assert "python3 is not that" in line
    assert not (machine.checkout / ".venv").exists()


def test_no_python_stops_set_up_with_one_line(machine: Machine) -> None:
    machine.has_java(JAVA_17)
    code, (line,) = machine.make("setup")
    assert code != 0
    assert "needs Python 3.11, 3.12 or 3.13" in line


def test_python_can_be_named(machine: Machine) -> None:
    machine.has_python((3, 10))
    machine.has_python((3, 12), name="python3.12")
    machine.has_java(JAVA_17)
    assert machine.make("machine", "PYTHON=python3.12") == (0, [])


@pytest.mark.parametrize(
    ("says", "version"), [('openjdk version "11.0.22" 2024-01-16', 11), ('java version "1.8.0_292"', 8), ('openjdk version "16-ea"', 16)]
)
def test_an_old_java_stops_set_up_with_one_line_that_names_it(machine: Machine, says: str, version: int) -> None:
    machine.has_python((3, 11))
    machine.has_java(says)
    code, (line,) = machine.make("setup")
    assert code != 0
    assert f"needs Java 17 or newer, and {machine.bin / 'java'} is Java {version}: install" in line
    assert not (machine.checkout / ".venv").exists()


def test_no_java_stops_set_up_with_one_line(machine: Machine) -> None:
    machine.has_python((3, 11))
    code, (line,) = machine.make("setup")
    assert code != 0
    assert "needs Java 17 or newer, and there is no java on the PATH: install" in line


def test_a_demo_asks_for_python_alone(machine: Machine) -> None:
    machine.has_python((3, 11))
    code, commands = machine.make("--dry-run", "demo")
    assert code == 0
    assert any("ensurepip" in command for command in commands)
    assert not any("java" in command or "jars" in command for command in commands)


def test_a_java_that_does_not_run_stops_set_up_with_one_line(machine: Machine) -> None:
    machine.has_python((3, 11))
    machine.has_java("Unable to locate a Java Runtime.", code=1)
    code, (line,) = machine.make("setup")
    assert code != 0
    assert "does not run: install" in line


def test_java_home_goes_before_the_path(machine: Machine) -> None:
    machine.has_python((3, 11))
    machine.has_java('java version "1.8.0_292"')
    machine.has_java(JAVA_17, home="newer")
    machine.variables["JAVA_HOME"] = str(machine.checkout.parent / "newer")
    assert machine.make("machine") == (0, [])


def test_a_java_home_without_java_is_named_though_the_path_has_one(machine: Machine) -> None:
    machine.has_python((3, 11))
    machine.has_java(JAVA_17)
    machine.variables["JAVA_HOME"] = "/nonexistent/java"
    code, (line,) = machine.make("setup")
    assert code != 0
    assert "JAVA_HOME=/nonexistent/java holds no bin/java" in line


@pytest.mark.parametrize("code", [0, 2])
def test_a_change_is_checked_by_make_test_in_the_root_from_anywhere(tmp_path: Path, code: int) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    make = tmp_path / "bin" / "make"
    make.parent.mkdir()
    make.write_text(f'#!/bin/sh\necho "$(pwd -P) $@"; cat; exit {code}\n', encoding="utf-8")
    make.chmod(0o755)
    path = f"{make.parent}:{os.environ['PATH']}"
    done = subprocess.run([tmp_path / ".ci" / "run"], cwd="/", env={"PATH": path}, input="unread", stdout=subprocess.PIPE, text=True)
    assert (done.returncode, done.stdout) == (code, f"{tmp_path.resolve()} test\n")


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-airflow.lock", "requirements-notebooks.lock"])
def test_every_locked_version_has_hashes_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert "://" not in text
    pinned = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(pinned) > 40
    for requirement in pinned:
        assert re.match(r"[a-z0-9.-]+==\S+ ", requirement), requirement
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", requirement), requirement


def locked_in(lock: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9.-]+)==", (ROOT / lock).read_text(encoding="utf-8"), flags=re.MULTILINE))


def test_what_the_project_asks_for_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    dev = {re.split(r"[<>=\[]", requirement)[0] for requirement in [*project["dependencies"], *extras["dev"]]}
    notebooks = {re.split(r"[<>=\[]", requirement)[0] for requirement in extras["notebooks"]}
    assert dev <= locked_in("requirements.lock")
    assert notebooks <= locked_in("requirements.lock") | locked_in("requirements-notebooks.lock")


def test_what_notebooks_need_changes_nothing_that_set_up_has_installed() -> None:
    assert locked_in("requirements-notebooks.lock").isdisjoint(locked_in("requirements.lock"))


def test_the_jars_are_those_of_the_locked_delta_and_spark() -> None:
    locked = dict(re.findall(r"^(delta-spark|pyspark)==([0-9.]+)", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE))
    spark = locked["pyspark"].rpartition(".")[0]
    assert list(delta_jars.JARS) == [
        f"io.delta:delta-spark_{spark}_2.13:{locked['delta-spark']}",
        f"io.delta:delta-storage:{locked['delta-spark']}",
    ]


@pytest.fixture
def fetched() -> list[Path]:
    """The jars that set-up fetched for the Python that runs the tests."""
    return delta_jars.delta_jars()


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Python environment that has no jars yet, on a machine that cannot reach the network."""
    prefix = tmp_path / "environment"
    # A proxy that nothing listens at, and a home whose local repository is all that the resolver can see.
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", f"-Duser.home={tmp_path} -Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=9")
    monkeypatch.setattr(sys, "prefix", str(prefix))
    return prefix


def publish_locally(home: Path, jars: list[Path]) -> None:
    """Put jars into the local repository of a home, the first that the resolver looks at."""
    for coordinate, jar in zip(delta_jars.JARS, jars, strict=True):
        group, artifact, version = coordinate.split(":")
        folder = home / ".m2" / "repository" / group.replace(".", "/") / artifact / version
        folder.mkdir(parents=True)
        shutil.copy(jar, folder / f"{artifact}-{version}.jar")
        (folder / f"{artifact}-{version}.pom").write_text(
            f"<project><modelVersion>4.0.0</modelVersion><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version></project>",
            encoding="utf-8",
        )


def test_missing_jars_are_named_with_the_remedy(prefix: Path) -> None:
    with pytest.raises(SetupError, match=rf"{prefix}/share/millrace/jars/delta-spark.*is missing or damaged: run `make setup`"):
        delta_jars.delta_jars()


def test_jars_that_are_missing_or_damaged_are_fetched(fetched: list[Path], prefix: Path, tmp_path: Path) -> None:
    publish_locally(tmp_path, fetched)
    folder = prefix / "share/millrace/jars"
    folder.mkdir(parents=True)
    (folder / fetched[1].name).write_bytes(fetched[1].read_bytes()[:1000])
    delta_jars.fetch_delta_jars()
    assert [jar.read_bytes() for jar in delta_jars.delta_jars()] == [jar.read_bytes() for jar in fetched]
    assert sorted(path.name for path in folder.iterdir()) == sorted(jar.name for jar in fetched)


def test_a_damaged_jar_is_refused(fetched: list[Path], prefix: Path) -> None:
    folder = prefix / "share/millrace/jars"
    folder.mkdir(parents=True)
    for jar in fetched:
        shutil.copy(jar, folder)
    assert delta_jars.delta_jars() == [folder / jar.name for jar in fetched]
    os.truncate(folder / fetched[1].name, 1000)
    with pytest.raises(SetupError, match=r"delta-storage.*damaged"):
        delta_jars.delta_jars()


def test_jars_that_are_there_are_not_fetched_again(fetched: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", "/nonexistent/java")
    before = [jar.stat() for jar in fetched]
    delta_jars.fetch_delta_jars()
    assert [jar.stat().st_mtime_ns for jar in fetched] == [was.st_mtime_ns for was in before]


def test_another_jar_under_that_name_is_thrown_away(fetched: list[Path], prefix: Path, tmp_path: Path) -> None:
    publish_locally(tmp_path, [fetched[1], fetched[1]])
    with pytest.raises(SetupError, match=r"delta-spark.*is not that jar"):
        delta_jars.fetch_delta_jars()
    assert list((prefix / "share/millrace/jars").iterdir()) == []


def test_jars_that_cannot_be_fetched_are_one_clear_line_and_a_log(prefix: Path) -> None:
    with pytest.raises(SetupError, match="could not be fetched: check the network") as raised:
        delta_jars.fetch_delta_jars()
    assert "\n" not in str(raised.value)
    assert [path.name for path in (prefix / "share/millrace/jars").iterdir()] == ["resolver.log"]
