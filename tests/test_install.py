"""Installing where the core cannot be built: the package comes without it and tells why."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SITE = sysconfig.get_path("purelib")
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
ALONE = ["--no-build-isolation", "--no-deps"]
MADE = shutil.ignore_patterns("__pycache__", "*.so")
NOT_BUILT = "the compiled core was not built: "
# CMake looks for a compiler in more places than PATH.
NOWHERE = "-DCMAKE_FIND_ROOT_PATH=/nowhere -DCMAKE_FIND_ROOT_PATH_MODE_PROGRAM=ONLY"
ASK = """
import json, site, sys
site.addsitedir(sys.argv[1])
import numpy, onesum
assert "onesum._no_core" not in sys.modules  # read when it is asked for
config = onesum.show_config(mode="dicts")
p = onesum.softmax(numpy.zeros(2))
print(json.dumps([config["backend"], config["reason"], p.tolist()]))
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The sources, with nothing in the core that would take a compiler time."""
    tree = tmp_path / "tree"
    (tree / "csrc").mkdir(parents=True)
    for name in ["CMakeLists.txt", "pyproject.toml", "README.md", "LICENSE"]:
        shutil.copy(ROOT / name, tree)
    for name in ["src", "tools"]:
        shutil.copytree(ROOT / name, tree / name, ignore=MADE)
    for path in (ROOT / "csrc").rglob("*.cpp"):
        copy = tree / path.relative_to(ROOT)
        copy.parent.mkdir(exist_ok=True)
        copy.touch()
    return tree


def compiler(folder: Path, name: str, program: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{program}\nexit 1\n")
    path.chmod(0o755)
    return str(path)


def run(*command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run without the terminal and the settings of whoever runs the tests."""
    ours = re.compile("CXX|CMAKE_.*|SKBUILD_.*|ONESUM_.*|PYTHONPATH|PIP_.*")
    kept = {k: v for k, v in os.environ.items() if not ours.fullmatch(k)}
    return subprocess.run(
        command,
        cwd=cwd,
        env=kept | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        timeout=120,
    )


def wheel(tree: Path, **environment: str) -> tuple[str, Path]:
    """Build one; what pip printed, and the wheel."""
    built = run(*PIP, "wheel", "-v", *ALONE, "--wheel-dir=wheels", ".", cwd=tree, **environment)
    assert built.returncode == 0, built.stdout
    (path,) = (tree / "wheels").glob("*.whl")
    return built.stdout, path


def python(site: Path, program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run with the package of a folder; -S, or the one installed beside the tests would serve."""
    command = [sys.executable, "-S", "-c", program, str(site)]
    return run(*command, cwd=site, PYTHONPATH=f"{site}{os.pathsep}{SITE}", **environment)


def reason(site: Path) -> str:
    """Why the package of a folder has no core, by its own account."""
    asked = python(site, ASK)
    assert asked.returncode == 0, asked.stdout
    backend, reason, p = json.loads(asked.stdout)
    assert (backend, p) == ("reference", [0.5, 0.5])
    assert reason.startswith(NOT_BUILT)
    return reason.removeprefix(NOT_BUILT)


def test_a_plain_install_tells(tree: Path, tmp_path: Path) -> None:
    """In the terminal, although pip hides the output of a build that succeeds."""
    (tree / "csrc" / "runtime" / "bandwidth.cpp").write_text("#error broken on purpose\n")
    site = tmp_path / "site"
    in_terminal = (
        "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
    )
    command = [
        sys.executable,
        "-c",
        in_terminal,
        *PIP,
        "install",
        *ALONE,
        "--target",
        str(site),
        ".",
    ]
    install = run(*command, cwd=tree)
    assert install.returncode == 0, install.stdout
    error = reason(site)
    assert re.fullmatch("csrc/runtime/bandwidth.cpp:1:2: error: .*broken on purpose", error)
    assert f"onesum: {NOT_BUILT}{error}" in install.stdout
    assert "bandwidth.cpp.o" not in install.stdout  # what a build prints is indeed hidden


FAKE = "echo 'fake.cpp:7:1: error: no $vectors today' >&2"
COMPILERS = {
    "fails": ("CXX", FAKE, {}, "fake.cpp:7:1: error: no $vectors today"),
    "says nothing": (
        "CXX",
        "",
        {},
        r'The C++ compiler "{}" is not able to compile a simple test program',
    ),
    "is the only one": ("clang++", FAKE, {}, "fake.cpp:7:1: error: no $vectors today"),
    "is missing": ("", "", {"CMAKE_ARGS": NOWHERE}, "no C++ compiler was found"),
}


@pytest.mark.parametrize("case", COMPILERS)
def test_a_compiler_that(case: str, tree: Path, tmp_path: Path) -> None:
    """The reason is in the package and in the output; the wheel is for every platform."""
    name, program, environment, expected = COMPILERS[case]
    path = compiler(tmp_path, name, program) if name else ""
    environment = environment | ({"CXX": path} if name == "CXX" else {"PATH": str(tmp_path)})
    output, built = wheel(tree, **environment)
    expected = expected.replace("{}", path)
    assert f"onesum: {NOT_BUILT}{expected}\n" in output
    assert built.name.endswith("-py3-none-any.whl")
    zipfile.ZipFile(built).extractall(tmp_path / "site")
    assert reason(tmp_path / "site") == expected
    native = python(tmp_path / "site", "import onesum", ONESUM_BACKEND="native")
    message = f"ONESUM_BACKEND: expected 'reference', got 'native': {NOT_BUILT}{expected}"
    assert native.stdout.endswith(f"ImportError: {message}\n")


def test_a_core_that_is_demanded(tree: Path, tmp_path: Path) -> None:
    """Then a build that fails is an install that fails, and pip shows all of it."""
    path = compiler(tmp_path, "CXX", FAKE)
    demand = ["--config-settings", "wheel.cmake=true"]
    install = run(*PIP, "wheel", *ALONE, *demand, ".", cwd=tree, CXX=path)
    assert install.returncode != 0
    assert "fake.cpp:7:1: error: no $vectors today" in install.stdout
    assert not list(tree.glob("*.whl"))


def test_an_sdist(tree: Path, tmp_path: Path) -> None:
    """What is published as sources installs in the same way where no compiler works."""
    program = "import build_backend; build_backend.build_sdist('.')"
    built = run(sys.executable, "-c", program, cwd=tree, PYTHONPATH="tools")
    assert built.returncode == 0, built.stdout
    (archive,) = tree.glob("*.tar.gz")
    path = compiler(tmp_path, "CXX", FAKE)
    options = ["-v", *ALONE, f"--wheel-dir={tree / 'wheels'}", str(archive)]
    made = run(*PIP, "wheel", *options, cwd=tmp_path, CXX=path)
    assert made.returncode == 0, made.stdout
    assert f"onesum: {NOT_BUILT}fake.cpp:7:1: error: no $vectors today\n" in made.stdout
    (built_wheel,) = (tree / "wheels").glob("*.whl")
    zipfile.ZipFile(built_wheel).extractall(tmp_path / "site")
    assert reason(tmp_path / "site") == "fake.cpp:7:1: error: no $vectors today"


def test_an_editable_install(tree: Path, tmp_path: Path) -> None:
    program = "import build_backend; build_backend.build_editable('wheels')"
    path = compiler(tmp_path, "CXX", FAKE)
    built = run(sys.executable, "-c", program, cwd=tree, CXX=path, PYTHONPATH="tools")
    assert built.returncode == 0, built.stdout
    (built_wheel,) = (tree / "wheels").glob("*.whl")
    zipfile.ZipFile(built_wheel).extractall(tmp_path / "site")
    assert reason(tmp_path / "site") == "fake.cpp:7:1: error: no $vectors today"
    assert not (tmp_path / "site" / "onesum" / "layers.py").exists()  # it is the tree's


def test_a_core_that_builds(tree: Path) -> None:
    """The wheel is for this platform and every later Python, with the core and no reason."""
    output, built = wheel(tree)
    assert NOT_BUILT not in output
    assert "-cp311-abi3-" in built.name
    names = zipfile.ZipFile(built).namelist()
    assert "onesum/_core.abi3.so" in names
    assert "onesum/_no_core.py" not in names


OUTPUTS = {
    "clang": (
        """
In file included from /x/csrc/a.cpp:3:
/x/csrc/a.h:1:2: error: no member 'f'
1 error generated.
""",
        "/x/csrc/a.h:1:2: error: no member 'f'",
    ),
    "out of memory": (
        """
c++: fatal error: Killed signal terminated program cc1plus
compilation terminated.
""",
        "c++: fatal error: Killed signal terminated program cc1plus",
    ),
    "linker": (
        """
/usr/bin/ld: a.o: in function `g':
a.cpp:(.text+0x5): undefined reference to `f'
collect2: error: ld returned 1 exit status
""",
        "a.cpp:(.text+0x5): undefined reference to `f'",
    ),
    "no NumPy": (
        """
  File "<string>", line 1, in <module>
ModuleNotFoundError: No module named 'numpy'
CMake Error at CMakeLists.txt:23 (execute_process):
  execute_process failed command indexes:

    1: "Child return code: 1"
""",
        "ModuleNotFoundError: No module named 'numpy'",
    ),
    "another compiler": (
        """
CMake Error at CMakeLists.txt:12 (message):
  The compiled core needs GCC or Clang (vector types); found MSVC


-- Configuring incomplete, errors occurred!
""",
        "The compiled core needs GCC or Clang (vector types); found MSVC",
    ),
    "no build tool": (
        """
CMake Error: CMake was unable to find a build program corresponding to "Ninja".  CMAKE_MAKE
CMake Error: CMAKE_CXX_COMPILER not set, after EnableLanguage
""",
        'CMake was unable to find a build program corresponding to "Ninja"',
    ),
    "no word of an error": ("-- Configuring\nKilled\n\n", "Killed"),
}


@pytest.mark.parametrize("case", OUTPUTS)
def test_the_first_error(case: str) -> None:
    spec = importlib.util.spec_from_file_location("backend", ROOT / "tools" / "build_backend.py")
    assert spec is not None
    assert spec.loader is not None
    backend = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(backend)
    output, expected = OUTPUTS[case]
    assert backend._first_error(output) == expected
