"""What is shipped, and what ships it: the sdist, wheels, workflows and CITATION.cff agree."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import onesum

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PYTHONS = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["project"]["classifiers"]))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("*.py")]


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def check_wheels() -> Any:
    spec = importlib.util.spec_from_file_location("check", ROOT / "tools" / "check_wheels.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# The sdist


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The files of an sdist made now."""
    folder = tmp_path_factory.mktemp("sdist")
    build = "import sys, build_backend; build_backend.build_sdist(sys.argv[1])"
    environment = {"PYTHONPATH": str(ROOT / "tools")}
    subprocess.run(
        [sys.executable, "-c", build, folder], cwd=ROOT, env=environment, check=True, timeout=60
    )
    (archive,) = folder.glob("*.tar.gz")
    assert archive.name == f"onesum-{onesum.__version__}.tar.gz"
    with tarfile.open(archive) as files:
        return {name.partition("/")[2] for name in files.getnames()}


def test_the_sdist_has_what_is_needed(shipped):
    """To build the package, to test it, and to read about it."""
    folders = ["benchmarks", "csrc", "docs", "examples", "src", "tests", "tools"]
    kinds = {".cpp", ".h", ".html", ".js", ".css", ".json", ".md", ".py", ".pyi", ".typed"}
    made = {"__pycache__", ".hypothesis"}
    for folder in folders:
        here = {
            path.relative_to(ROOT).as_posix()
            for path in (ROOT / folder).rglob("*")
            if path.suffix in kinds and not made & set(path.parts)
        }
        assert here
        assert not here - shipped
    single = {"CMakeLists.txt", "LICENSE", "Makefile", "PKG-INFO", "README.md", "pyproject.toml"}
    assert not single - shipped
    assert f".github/workflows/{WORKFLOWS[0].name}" in shipped


def test_the_sdist_has_nothing_else(shipped):
    tops = {PurePosixPath(name).parts[0] for name in shipped if name}
    assert tops == {
        *(".github", "benchmarks", "csrc", "docs", "examples", "src", "tests", "tools"),
        *(".clang-format", ".clang-format-ignore", "ARCHITECTURE.md", "CHANGELOG.md"),
        *("CITATION.cff", "CMakeLists.txt", "CONTRIBUTING.md"),
        *("LICENSE", "Makefile", "PKG-INFO", "README.md", "SECURITY.md", "pyproject.toml"),
    }
    made = re.compile(r"\.(so|pyd|dylib|o|whl|pyc)$|__pycache__|\.(hypothesis|pytest_cache)")
    assert not [name for name in shipped if made.search(name)]


# Wheels


def wheel(path: Path, *names: str, size: int = 0) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("onesum/__init__.py", "onesum/py.typed", "onesum/explorer/explorer.html"):
            archive.writestr(name, "")
        for name in names:
            archive.writestr(name, b"\0" * size)
    return path


def test_what_a_wheel_may_weigh_and_hold(tmp_path, capsys):
    check = check_wheels()
    abi3 = "onesum-1.0-cp311-abi3-manylinux_2_28_x86_64.whl"
    good = wheel(tmp_path / abi3, "onesum/_core.abi3.so", "onesum/_core.pyi")
    assert check.main([str(good)]) == 0
    pure = wheel(tmp_path / "onesum-1.0-py3-none-any.whl")
    assert check.main([str(pure)]) == 0
    assert check.main([]) == 2

    def found(*names: str, size: int = 0) -> str:
        assert check.main([str(wheel(tmp_path / abi3, *names, size=size))]) == 1
        return capsys.readouterr().out

    assert "MB, expected less than" in found("onesum/_core.abi3.so", size=check.LIMIT)
    assert "has 0 compiled cores" in found("onesum/_core.pyi")
    assert "csrc/a.h, which is not of" in found("onesum/_core.abi3.so", "csrc/a.h")


def test_wheels_that_are_here():
    """`make wheel` checks each when it is made; what lies about from before is as small."""
    check = check_wheels()
    for path in (ROOT / "dist").glob("*.whl"):
        assert not list(check.complaints(path)), path.name


def test_the_core_is_built_for_the_oldest_python():
    first = f"cp{PYTHONS[0].replace('.', '')}"
    assert PROJECT["tool"]["scikit-build"]["wheel"]["py-api"] == first
    assert f"USE_SABI {PYTHONS[0]}" in (ROOT / "CMakeLists.txt").read_text()
    assert PROJECT["project"]["requires-python"] == f">={PYTHONS[0]}"


def test_what_cibuildwheel_builds():
    """Each Python that is promised, and the free-threaded one; the oldest NumPy is tested."""
    config = PROJECT["tool"]["cibuildwheel"]
    identifiers = [f"cp{version.replace('.', '')}-*" for version in PYTHONS]
    assert [name for name in config["build"] if "t-" not in name] == identifiers
    (free_threaded,) = set(config["build"]) - set(identifiers)
    assert free_threaded == identifiers[-1].replace("-", "t-")
    (oldest,) = config["overrides"]
    assert oldest["select"] == identifiers[0]
    (tested,) = map(Requirement, oldest["test-requires"])
    (promised,) = map(Requirement, PROJECT["project"]["dependencies"])
    version = str(tested.specifier).removeprefix("==").removesuffix(".*")
    assert promised.specifier.contains(version)
    before = f"{version.split('.')[0]}.{int(version.split('.')[1]) - 1}"
    assert not promised.specifier.contains(before)
    assert set(config["test-groups"]) <= PROJECT["dependency-groups"].keys()
    for source in config["test-sources"]:
        assert (ROOT / source).exists()
    assert (ROOT / config["test-command"].split()[1]).exists()


# Workflows


def steps() -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{path.stem}.{name}", step)
        for path in WORKFLOWS
        for name, job in load(path)["jobs"].items()
        for step in job["steps"]
    ]


def test_workflows_run_what_exists():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    ran = "\n".join(step["run"] for _, step in steps() if "run" in step)
    asked = set(re.findall(r"\bmake ([\w-]+)", ran))
    assert {"test", "test-clang", "test-neon", "sdist"} <= asked
    assert not asked - targets
    for path in re.findall(r"python ((?:tools|tests)/\S+\.py)", ran):
        assert (ROOT / path).exists()
    for group in re.findall(r"--group (\S+)", ran):
        assert group in PROJECT["dependency-groups"]


def test_workflows_know_the_pythons():
    """Those of the matrix are promised, and all that are promised are there."""
    jobs = load(ROOT / ".github" / "workflows" / "tests.yml")["jobs"]
    for name in ("all", "numpy-alone"):
        assert jobs[name]["strategy"]["matrix"]["python"] == PYTHONS
    supported = SpecifierSet(PROJECT["project"]["requires-python"])
    for name, step in steps():
        version = str(step.get("with", {}).get("python-version", PYTHONS[0]))
        assert "matrix" in version or supported.contains(version), name


def test_workflows_may_do_little():
    """Nothing unless a job says so; only those that publish may write, and no secret is used."""
    for path in WORKFLOWS:
        workflow = load(path)
        assert workflow["permissions"] == {}, path.name
        assert "secrets." not in path.read_text()
        for name, job in workflow["jobs"].items():
            granted = job["permissions"]
            assert name == "publish" or granted == {"contents": "read"}, f"{path.name}: {name}"
    publish = load(ROOT / ".github" / "workflows" / "wheels.yml")["jobs"]["publish"]
    assert publish["permissions"] == {"id-token": "write"}
    assert publish["environment"]["name"] == "pypi"
    assert set(publish["needs"]) == {"sdist", "wheels"}


def test_actions_are_taken_by_their_major_version():
    used = {step["uses"] for _, step in steps() if "uses" in step}
    for action in used:
        assert re.fullmatch(r"actions/[\w-]+@v\d+|pypa/gh-action-pypi-publish@release/v1", action)
    by_name = {action.partition("@")[0] for action in used}
    assert len(by_name) == len(used)  # one version of each
    (ecosystem,) = load(ROOT / ".github" / "dependabot.yml")["updates"]
    assert ecosystem["package-ecosystem"] == "github-actions"


# What people are told


def test_the_citation():
    citation = load(ROOT / "CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == onesum.__version__
    assert citation["license"] == PROJECT["project"]["license"]
    assert {"authors", "message", "title", "type"} <= citation.keys()


def test_extras_that_people_are_told_of_exist():
    extras = PROJECT["project"]["optional-dependencies"]
    told = {
        extra
        for page in PAGES
        for names in re.findall(
            r"(?:onesum|pip install '?\.)\[([\w,-]+)\]", page.read_text("utf-8")
        )
        for extra in names.split(",")
    }
    assert {"array-api", "cli"} <= told
    assert not told - extras.keys()
