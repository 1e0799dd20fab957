"""Every test that takes `numpy_api`, `any_api` or another of these runs once per implementation."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from implementations import ON_LIBRARIES, Api, on_numpy, using

hypothesis.settings.register_profile(
    "onesum",
    derandomize=True,
    deadline=None,
    max_examples=40,
    # The fixtures only choose an implementation, and leave nothing behind for the next example.
    suppress_health_check=[
        hypothesis.HealthCheck.function_scoped_fixture,
        hypothesis.HealthCheck.too_slow,
    ],
)
hypothesis.settings.load_profile("onesum")


# Of these files one test keeps a worker for long: they come first, while there is other work.
LONG = (
    "test_memory",
    "test_threads",
    "test_benchmarks",
    "test_typing",
    "test_docs_site",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


def pytest_collection_finish() -> None:
    """The threads of torch wait for one another by spinning: of two workers', on two processors,
    that is most of what they do."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(params=on_numpy())
def numpy_api(request: pytest.FixtureRequest) -> Iterator[Api]:
    """The public functions, over every implementation that serves NumPy arrays."""
    with using(request.param) as api:
        yield api


@pytest.fixture(params=list(dict.fromkeys([on_numpy()[0], on_numpy()[-1]])))
def api(request: pytest.FixtureRequest) -> Iterator[Api]:
    """Once per backend, for what no instruction set has a part in: refusals reach no kernel."""
    with using(request.param) as api:
        yield api


@pytest.fixture(params=on_numpy()[1:])
def kernel_api(request: pytest.FixtureRequest) -> Iterator[Api]:
    """The core, once per instruction set, for what the reference backend does not do: it streams
    nothing."""
    with using(request.param) as api:
        yield api


@pytest.fixture(params=ON_LIBRARIES)
def library_api(request: pytest.FixtureRequest) -> Iterator[Api]:
    """The public functions on another library's arrays, fed and answering in NumPy's."""
    with using(request.param) as api:
        yield api


@pytest.fixture(params=[*on_numpy(), *ON_LIBRARIES])
def any_api(request: pytest.FixtureRequest) -> Iterator[Api]:
    """Both of the above."""
    with using(request.param) as api:
        yield api


@pytest.fixture
def cli(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """The command in a folder of its own: its exit status, what it said on stdout and stderr."""
    from onesum.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def call(*argv: object) -> tuple[int, str, str]:
        status = main([str(a) for a in argv])
        return (status, *capsys.readouterr())

    return call


@pytest.fixture(scope="module")
def windows() -> Iterator[Any]:
    """Chromium, one for the tests of a file."""
    from browser import Watched, chromium

    with chromium() as browser:
        yield Watched(browser)


@pytest.fixture
def watched(windows: Any) -> Iterator[Any]:
    """What opens pages that may neither complain nor ask for anything but files."""
    yield windows
    complaints, windows.complaints = windows.complaints, []
    assert not complaints
