"""Imports run one way, and `import onesum` brings in NumPy and nothing else."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import onesum

PACKAGE = Path(onesum.__file__).parent

# From the ground up; a module imports from its own floor and from those below.
FLOORS = [
    {"_core", "_typing", "_library"},
    {"_backends"},
    {"_arguments", "_runtime"},
    {"_storage"},
    {"_functions"},
    {"layers"},
    {"boosting", "compare", "explain", "torch"},
    {"explorer"},  # which takes arrays as compare does
    {"_calibration"},
    {"metrics", "sklearn"},
    {""},  # the package itself
    {"bench"},
    {"audit"},
    {"cli"},
    {"__main__"},
]
ROOMS = {room: i for i, floor in enumerate(FLOORS) for room in floor}
# Brought in when an array of another library arrives, by the function that meets it; when asked for
# by name; or when the benchmark asks a library that is installed.
WITHIN_FUNCTIONS = {"array_api_compat", "pandas", "scipy", "threadpoolctl"}
# Modules that are imported themselves when the first array of a library arrives, or by name.
OF_A_LIBRARY = {
    "_backends.dask": "dask",
    "_backends.jax": "jax",
    "_backends.torch": "torch",
    "_library.dask_expressions": "dask",
    "_library.dask_namespace": "dask",
    "_library.torch_namespace": "torch",
    "cli": "cyclopts",  # it is imported by the command alone
    "sklearn": "sklearn",
    "torch": "torch",
}
# Within functions, too, by those who ask for what these rooms do.
WITHIN_ROOMS = {
    "_storage": {"ml_dtypes", "safetensors", "zarr"},
    "audit": {"jax", "ml_dtypes", "rich"},
    "bench": {"jax", "ml_dtypes", "onnx", "onnxruntime", "torch"},
    "cli": {"dask", "distributed", "rich"},
    "compare": {"matplotlib"},
    "explain": {"matplotlib"},
    "metrics": {"matplotlib"},
}


def name_of(path: Path) -> str:
    parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def floor_of(module: str) -> int:
    """That of the room in which it is."""
    return ROOMS[module.partition(".")[0]]


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def imports(module: str) -> list[tuple[str, bool]]:
    """What a module imports, fully named, and whether it does so as it is imported itself."""
    path = MODULES[module]
    package = ["onesum", *filter(None, module.split("."))]
    if path.name != "__init__.py":
        package.pop()
    tree = ast.parse(path.read_text())
    later = {
        id(inner)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for inner in ast.walk(outer)
    }
    checking = {
        id(inner)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.If) and "TYPE_CHECKING" in ast.unparse(outer.test)
        for inner in ast.walk(outer)
    }
    found = []
    for node in ast.walk(tree):
        if id(node) in checking:
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) not in later) for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *filter(None, [node.module])])
            for alias in node.names:
                inner = f"{source}.{alias.name}".removeprefix("onesum").removeprefix(".")
                is_module = source.startswith("onesum") and (inner in MODULES or inner == "_core")
                name = f"{source}.{alias.name}" if is_module else source
                found.append((name, id(node) not in later))
    return found


def test_the_parser_sees_imports():
    """The rule below would pass on nothing."""
    found = {name for module in MODULES for name, _ in imports(module)}
    assert {"numpy", "onesum._functions.softmax", "onesum._backends.reference"} <= found


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module):
    room = module.partition(".")[0]
    assert room in ROOMS, f"onesum.{room} has no floor yet: give it one here"
    for name, _ in imports(module):
        if name == "onesum" or name.startswith("onesum."):
            target = name.removeprefix("onesum").removeprefix(".")
            assert floor_of(target) <= floor_of(module), (
                f"{module} imports {name}, which is above it"
            )


def test_no_cycles():
    graph = {
        module: {
            name.removeprefix("onesum").removeprefix(".")
            for name, at_import in imports(module)
            if name.startswith("onesum.") and at_import
        }
        - {module}
        for module in MODULES
    }
    done: set[str] = set()
    while len(done) < len(graph):
        free = {m for m, needs in graph.items() if m not in done and needs & graph.keys() <= done}
        assert free, f"these import each other: {sorted(graph.keys() - done)}"
        done |= free


@pytest.mark.parametrize("module", MODULES)
def test_no_library_but_numpy(module):
    own = {library for room, library in OF_A_LIBRARY.items() if f"{module}.".startswith(f"{room}.")}
    for name, at_import in imports(module):
        top = name.partition(".")[0]
        if top not in {"onesum", "numpy", *own, *sys.stdlib_module_names}:
            assert not at_import, f"{module} imports {name} at module level"
            room = WITHIN_ROOMS.get(module.partition(".")[0], set())
            assert top in WITHIN_FUNCTIONS | room, f"{module} imports {name}"


def test_what_import_onesum_brings_in():
    """Neither importing it nor using it on NumPy arrays loads another library, or more of NumPy."""
    program = """
import sys, numpy
before = set(sys.modules)
import onesum
p = onesum.softmax(numpy.ones((2, 3)))
onesum.softmax_jacobian(p) @ p
onesum.Softmax()(p)
print(*sorted(set(sys.modules) - before))
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = run.stdout.split()
    assert "onesum" in loaded
    assert not [n for n in loaded if n.startswith(("onesum.bench", "onesum.cli", "onesum._st"))]
    others = {
        name
        for name in loaded
        if name.partition(".")[0] not in {"onesum", *sys.stdlib_module_names}
    }
    assert not others


def test_what_is_imported_when_it_is_asked_for():
    """All public names are there, and what is not asked for costs the import nothing."""
    assert set(onesum.__all__) <= set(dir(onesum))
    for name in onesum.__all__:
        assert getattr(onesum, name).__name__ == name
    with pytest.raises(AttributeError, match=r"^module 'onesum' has no attribute 'sofmax'$"):
        onesum.sofmax  # noqa: B018
    program = """
import sys, onesum
late = {f"onesum.{name}" for name in ("layers", "_functions.jacobian", "_functions.linear")}
assert not late & set(sys.modules)
from onesum import *
assert late <= set(sys.modules)
assert softmax_jacobian is onesum.softmax_jacobian
"""
    subprocess.run([sys.executable, "-c", program], check=True)


OF_ONE_ELEMENT = {
    "torch": "torch.ones(1)",
    "jax": "jax.numpy.ones(1)",
    "pandas": "pandas.Series([1.0])",
    "xarray": "xarray.DataArray([1.0])",
    "dask": "dask.array.ones(1)",
    "array_api_strict": "array_api_strict.ones(1)",
}


@pytest.mark.parametrize("library", OF_ONE_ELEMENT)
def test_what_the_first_array_brings_in(library):
    """A library that is there changes nothing; an array of it brings in no other library."""
    program = f"""
import sys
import {library}{".array" if library == "dask" else ""}, onesum, numpy
onesum.softmax(numpy.ones(3))
assert not {{f"onesum._backends.{library}", "onesum._backends.reference"}} & set(sys.modules)
before = set(sys.modules)
onesum.softmax({OF_ONE_ELEMENT[library]})
print(*(name.partition(".")[0] for name in set(sys.modules) - before))
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    others = {*OF_ONE_ELEMENT, "array_api_compat", "cupy", "ml_dtypes", "scipy"} - {library}
    allowed = {"dask": {"array_api_compat"}, "xarray": {"dask", "scipy"}}  # which xarray looks for
    assert set(run.stdout.split()) & others <= allowed.get(library, set())


CSRC = Path(__file__).parents[1] / "csrc"
# What each room of the core may include, beside itself.
MAY_INCLUDE = {
    "common": set(),
    "simd": {"common"},
    "numerics": {"common", "simd"},
    "loops": {"common", "simd", "numerics", "runtime/kernels.h", "runtime/thread_pool.h"},
    "ops": {"common", "simd", "numerics", "loops", "runtime/kernels.h"},
    "runtime": {"common"},
    "python": {"common", "runtime"},
}
SOURCES = {
    str(path.relative_to(CSRC)): path.read_text() for path in CSRC.rglob("*") if path.is_file()
}
OF_AN_INSTRUCTION_SET = re.compile(
    r"^ *# *(?:el)?if.*__(?:SSE|AVX|FMA|F16C|ARM_NEON)", re.MULTILINE
)


@pytest.mark.parametrize("source", SOURCES)
def test_the_core_includes_downwards(source):
    room = source.partition("/")[0]
    includes = re.findall(r'#include "(.*)"', SOURCES[source])
    assert not [name for name in includes if name not in SOURCES]
    above = {
        name
        for name in includes
        if name.partition("/")[0] not in {room, *MAY_INCLUDE[room]}
        and name not in MAY_INCLUDE[room]
    }
    assert not above


def test_one_room_asks_for_the_instruction_set():
    asking = {source for source, text in SOURCES.items() if OF_AN_INSTRUCTION_SET.search(text)}
    assert asking == {"simd/vec.h", "runtime/dispatch.cpp"}  # the latter for its name
