"""The implementations under test, and a face for them that watches every call.

An `Api` has the public functions as attributes. Each call through it runs with floating-point
errors raised and warnings turned into errors, and fails if an input was written to. `convert`
and `back` take NumPy arrays to another array library and its arrays back.
"""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

import onesum
from onesum._backends import registry

if TYPE_CHECKING:
    import torch

REQUIRE_CORE = os.environ.get("ONESUM_TEST_REQUIRE_CORE") == "1"
MISSING = "native"  # the one native implementation of a machine where the core is not built


def core() -> Any:
    """The compiled core, or None where it was not built."""
    try:
        return importlib.import_module("onesum._core")
    except ImportError:
        return None


# With a fused multiply-add all instruction sets give the same bits: test_machines.py holds them to
# one another, and one of them stands for all elsewhere.
SAME_BITS = ("x86-64-v4", "x86-64-v3")


def on_numpy() -> list[str]:
    """The implementations that serve NumPy arrays here, the core once for each kind of bits."""
    if core() is not None:
        first = next((isa for isa in SAME_BITS if isa in core().isas), None)
        isas = [isa for isa in core().isas if isa == first or isa not in SAME_BITS]
        return ["reference", *(f"native-{isa}" for isa in isas)]
    return ["reference", MISSING] if REQUIRE_CORE else ["reference"]


# Those that are here: numpy_alone.py runs without any.
_MODULES = {"strict": "array_api_strict", "torch": "torch"}
ON_LIBRARIES = [name for name, module in _MODULES.items() if find_spec(module)]


@contextmanager
def using(name: str) -> Iterator[Api]:
    """The public functions, with NumPy arrays served by the named implementation."""
    if name in ON_LIBRARIES:
        yield Api(name, **_LIBRARIES[name])
        return
    if name == MISSING:
        reason = registry.numpy_reason()
        raise AssertionError(f"{reason}, and ONESUM_TEST_REQUIRE_CORE=1 asks for the core")
    module, _, isa = name.partition("-")
    before = registry.numpy_backend, core() and core().isa
    registry.numpy_backend = importlib.import_module(f"onesum._backends.{module}")
    if isa:
        core()._use_isa(isa)
        assert core().isa == isa
    try:
        yield Api(name)
    finally:
        registry.numpy_backend = before[0]
        if isa:
            core()._use_isa(before[1])


def every(dtype: str | None = None, libraries: bool = False) -> Iterator[Api]:
    """Each implementation in turn, for tests whose preparation takes the time.

    On NumPy's arrays, or on those of other libraries too; all of them, or those with the dtype.
    """
    for name in [*on_numpy(), *ON_LIBRARIES] if libraries else on_numpy():
        if dtype is None or dtype in dtypes(name):
            with using(name) as api:
                yield api


def _strict(a: np.ndarray) -> Any:
    import array_api_strict

    return array_api_strict.asarray(np.array(a))


def _from_strict(a: Any) -> Any:
    return np.asarray(a._array) if type(a).__module__.startswith("array_api_strict") else a


def _torch(a: np.ndarray) -> torch.Tensor:
    import torch  # which takes seconds, and not every process of a test needs it

    if a.dtype.name == "bfloat16":
        return torch.asarray(np.asarray(a, dtype=np.float32)).to(torch.bfloat16)
    return torch.asarray(np.array(a))


def _from_torch(t: Any) -> Any:
    import torch

    if not isinstance(t, torch.Tensor):
        return t
    if t.dtype == torch.bfloat16:
        return t.to(torch.float32).numpy().astype("bfloat16")
    return t.numpy()


_LIBRARIES: dict[str, dict[str, Callable[..., Any]]] = {
    "strict": {"convert": _strict, "back": _from_strict},
    "torch": {"convert": _torch, "back": _from_torch},
}


def arrays_of(answer: Any) -> list[Any]:
    """All results of an answer, in line; a gradient that is None is none."""
    if isinstance(answer, tuple):
        return [a for part in answer for a in arrays_of(part)]
    return [] if answer is None else [answer]


def dtypes(name: str) -> tuple[str, ...]:
    """The floating dtypes of an implementation."""
    if name == "strict":
        return ("float32", "float64")
    return ("float16", "bfloat16", "float32", "float64")


@dataclass
class Api:
    name: str
    convert: Callable[[Any], Any] | None = None
    back: Callable[[Any], Any] = lambda a: a

    def __getattr__(self, function: str) -> Callable[..., Any]:
        target = getattr(onesum, function)

        def call(*args: Any, **kwargs: Any) -> Any:
            sent = [self._convert(a) for a in args]
            named = {k: self._convert(v) for k, v in kwargs.items()}
            out = kwargs.get("out")
            watched = [
                a
                for a in (*args, *kwargs.values())
                if isinstance(a, np.ndarray) and not a.dtype.hasobject
            ]
            watched = [a for a in watched if out is None or not _overlap(a, out)]
            before = [a.tobytes() for a in watched]
            try:
                with warnings.catch_warnings(), np.errstate(all="raise"):
                    warnings.simplefilter("error")
                    answer = target(*sent, **named)
            finally:
                written = [i for i, a in enumerate(watched) if a.tobytes() != before[i]]
                assert not written, f"{function} wrote to its input {written}"
            return tuple(map(self.back, answer)) if isinstance(answer, tuple) else self.back(answer)

        return call

    def _convert(self, value: Any) -> Any:
        if self.convert is None or not isinstance(value, np.ndarray | np.generic):
            return value
        return self.convert(value)


def _overlap(a: np.ndarray, out: Any) -> bool:
    return isinstance(out, np.ndarray) and np.may_share_memory(a, out)
