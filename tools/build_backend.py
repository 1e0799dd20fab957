"""The build backend: scikit-build-core's, and the package without its core where that fails.

The reason, such as the compiler's first error, is kept in the package, where `show_config()` finds
it, and told to whoever installs. There are no hooks for metadata alone: whether the wheel is
for one platform or for all is known when it is built.
"""

import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any

from scikit_build_core import build as scikit
from scikit_build_core.build import (
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
]

# of compilers, linkers and Python; and CMake's own
ERROR = re.compile(r".*(?<!CMake )error: .*|.*: undefined (?:reference|symbol).*", re.IGNORECASE)
CMAKE_ERROR = re.compile(r"CMake Error(?: at .*)?:(.*\n(?: .*\n|\n)*)")
NO_COMPILER = re.compile("No CMAKE_CXX_COMPILER could be found|in the environment variable CXX")
CLANG = "clang++"
REASON = Path("build", "no_core.py.in")  # the template that pyproject.toml names


def build_wheel(
    wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None
) -> str:
    return _build(scikit.build_wheel, wheel_directory, config_settings)


def build_editable(
    wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None
) -> str:
    return _build(scikit.build_editable, wheel_directory, config_settings)


def _build(hook: Callable[..., str], wheel_directory: str, config_settings: Any) -> str:
    os.environ["LC_ALL"] = "C"  # errors in English
    _choose_compiler()
    output: list[bytes] = []
    try:
        with _recorded(output):
            return hook(wheel_directory, config_settings)
    except SystemExit:
        reason = _first_error(b"".join(output).decode(errors="replace"))
    REASON.parent.mkdir(exist_ok=True)
    REASON.write_text(f"reason = {reason!r}\n".replace("$", "$$"), encoding="utf-8")
    os.environ["ONESUM_WITHOUT_CORE"] = "1"
    wheel = hook(wheel_directory, config_settings)
    _tell(
        f"onesum: the compiled core was not built: {reason}\n"
        "onesum: the reference backend serves, slower; onesum.show_config() tells why\n"
    )
    return wheel


def _choose_compiler() -> None:
    """Another than Python was built with, which scikit-build-core takes, if that is not here.

    On Windows Python was built with one that cannot build the core: Clang can, by Ninja alone.
    """
    if sys.platform == "win32":
        if "CXX" not in os.environ and "CMAKE_GENERATOR" not in os.environ and shutil.which(CLANG):
            os.environ.update(CXX=CLANG, CMAKE_GENERATOR="Ninja")
        return
    of_python = (sysconfig.get_config_var("CXX") or "c++").split()[0]
    if "CXX" not in os.environ and not shutil.which(of_python):
        for name in filter(shutil.which, ["c++", "g++", CLANG]):
            os.environ["CXX"] = name
            return


def _first_error(output: str) -> str:
    """The first error that a build reported, in one line."""
    if NO_COMPILER.search(output) and "CXX" not in os.environ:
        return "no C++ compiler was found"
    if found := ERROR.search(output):
        error = found[0].strip()
    elif found := CMAKE_ERROR.search(output):
        error = re.split(r"\.(?:\s|$)", " ".join(found[1].split()))[0]  # the first sentence
    else:
        error = output.strip().rpartition("\n")[2]
    return error.replace(f"{Path.cwd()}{os.sep}", "")


def _tell(message: str) -> None:
    """Print, and reach the terminal too: pip hides what a build that succeeds prints."""
    text = f"\n{message}".encode()  # whatever the encoding of the standard output
    sys.stdout.flush()
    os.write(1, text)
    if not os.isatty(1):
        with suppress(OSError), open("/dev/tty", "wb") as terminal:
            terminal.write(text)


@contextmanager
def _recorded(output: list[bytes]) -> Iterator[None]:
    """Keep what is written to the standard streams, by child processes too, and pass it on."""
    source, sink = os.pipe()
    streams = {stream: os.dup(stream) for stream in (1, 2)}

    def pass_on() -> None:
        with open(source, "rb") as lines:
            for line in lines:
                output.append(line)
                os.write(streams[1], line)

    thread = Thread(target=pass_on, daemon=True)
    thread.start()
    for stream in streams:
        os.dup2(sink, stream)
    os.close(sink)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for stream, before in streams.items():
            os.dup2(before, stream)
        thread.join(timeout=10)  # a server that a compiler started may keep its end open
