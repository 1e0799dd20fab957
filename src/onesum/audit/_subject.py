"""The function that is audited, and how it is called."""

from __future__ import annotations

import contextlib
import inspect
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .._library import dtype_name
from ..bench.peers import as_numpy, as_tensor
from ._limit import Limited, TimeLimitError

Array = Any

FORWARDS = ("softmax", "log_softmax", "logsumexp", "cross_entropy")
BACKWARDS = ("softmax_vjp", "log_softmax_vjp")
KINDS = FORWARDS + BACKWARDS
MOST_LEFT = 4  # calls that do not return, until there are no more
_KEYWORDS = ("axis", "dim")
_LIBRARIES = ("numpy", "torch", "jax")


class NoAnswerError(Exception):
    """The function raised, or what it returned is no array of the shape expected."""


class Subject:
    """A function of NumPy arrays, whatever arrays it is itself written for.

    What a cross entropy answers is minus its losses, one for each class that the target may be:
    that is the logarithm of softmax, of the shape of x.
    """

    def __init__(
        self, function: Callable[..., Any], kind: str, library: str | None, limit: float
    ) -> None:
        self.function, self.kind = function, kind
        self.name = name_of(function)
        self.limited = Limited(limit)
        self.printed = ""
        self.returned: Any = None  # what the last call returned, as it was
        self.options = _options(function)
        self._mean = False  # of a cross entropy: one number for all rows
        self.library, self.keyword, self.by_row = self._how(library)

    @property
    def has_axis(self) -> bool:
        return self.keyword is not None

    def __call__(self, *arrays: Array, axis: int = -1, **options: Any) -> Array:
        """Its answer. Raises NoAnswerError, or TimeLimitError."""
        if self.kind == "cross_entropy":
            return self._losses(arrays[0])
        if self.by_row and arrays[0].ndim > 1:
            return self._by_row(arrays, axis)
        return self._shaped(arrays, axis, self.keyword, self.library, options)

    @property
    def dtype(self) -> str:
        """That of what the last call returned."""
        return dtype_name(getattr(self.returned, "dtype", type(self.returned)))

    def losses(self, x: Array, target: Array) -> Array:
        """Of a cross entropy, what it returns for so many rows at once."""
        return self._answer((x, target), -1, None, self.library, {})

    def prepared(self, *arrays: Array, axis: int = -1) -> Callable[[], Any]:
        """A call whose arrays are of the right library already."""
        with self._types():
            ready = tuple(_given(a, self.library) for a in arrays)
        return lambda: self._wait(
            self.function(*ready, **({self.keyword: axis} if self.keyword else {}))
        )

    def derivative(self, x: Array, g: Array) -> Array:
        """Its VJP at x, as its library derives it."""
        if self.library == "torch":
            x = x.copy()

        def call() -> Any:
            options = {self.keyword: -1} if self.keyword else {}
            if self.library == "jax":
                import jax

                with self._types():
                    _, pull = jax.vjp(
                        lambda a: self.function(a, **options), _given(x, self.library)
                    )
                    return as_numpy(pull(_given(g, self.library))[0])
            tensor = as_tensor(x).requires_grad_()
            self.function(tensor, **options).backward(as_tensor(g))
            return as_numpy(tensor.grad)

        outcome = self.limited(call)
        if outcome.error is not None:
            raise NoAnswerError(_raised(outcome.error))
        return outcome.value

    def _how(self, library: str | None) -> tuple[str, str | None, bool]:
        """The library, the name of the axis, and whether it takes one row at a time: the first
        way in which it answers an ordinary call."""
        x = np.linspace(-2.0, 2.0, 16).reshape(
            4, 4
        )  # square: nothing depends on which axis is which
        arrays = {
            "softmax_vjp": (np.full(x.shape, 0.25), x),
            "log_softmax_vjp": (np.full(x.shape, -np.log(4.0)), x),
            "cross_entropy": (x, np.array([0, 2, 1, 3])),
        }.get(self.kind, (x,))
        first: NoAnswerError | None = None
        for name in [library] if library else _libraries(self.function):
            for keyword, by_row in self._ways():
                given = tuple(a[0] for a in arrays) if by_row else arrays
                try:
                    answer = self._answer(given, -1, keyword, name, {})
                except NoAnswerError as error:
                    first = first or error
                    continue
                used = type(self.returned).__module__.partition(".")[0]
                if not library and used in ("jax", "jaxlib"):
                    name = "jax"
                self._mean = answer.ndim == 0
                return name, keyword, by_row
        assert first is not None
        raise first

    def _ways(self) -> list[tuple[str | None, bool]]:
        """The axis in a keyword, no axis, and rows one by one where there is no axis."""
        if self.kind == "cross_entropy":
            return [(None, False)]
        named = [name for name in _KEYWORDS if self.options is not None and name in self.options]
        if named:
            return [(named[0], False)]
        tried = self.options is None or "**" in self.options
        return [*((name, False) for name in _KEYWORDS if tried), (None, False), (None, True)]

    def _losses(self, x: Array) -> Array:
        answer, dtype = np.empty(x.shape, np.float64), x.dtype
        k, n = x.shape
        for c in range(n):
            if self._mean:
                rows = [self.losses(x[i : i + 1], np.array([c])) for i in range(k)]
                answer[:, c] = [float(a.reshape(-1)[0]) for a in rows]
                dtype = rows[0].dtype
            else:
                loss = self.losses(x, np.full(k, c))
                if loss.shape != (k,):
                    raise NoAnswerError(f"returned shape {loss.shape}, expected {(k,)} or ()")
                answer[:, c], dtype = loss, loss.dtype
        return (-answer).astype(dtype)

    def _by_row(self, arrays: tuple[Array, ...], axis: int) -> Array:
        moved = [np.moveaxis(a, axis, -1) for a in arrays]
        rows = [a.reshape(math.prod(a.shape[:-1]), a.shape[-1]) for a in moved]
        answers = [
            self._shaped(row, -1, self.keyword, self.library, {}) for row in zip(*rows, strict=True)
        ]
        if self.kind == "logsumexp":
            return np.array(answers).reshape(moved[0].shape[:-1])
        return np.moveaxis(np.array(answers).reshape(moved[0].shape), -1, axis)

    def _shaped(
        self,
        arrays: tuple[Array, ...],
        axis: int,
        keyword: str | None,
        library: str,
        options: dict[str, Any],
    ) -> Array:
        answer = self._answer(arrays, axis, keyword, library, options)
        shape = arrays[0].shape
        if self.kind == "logsumexp":
            at = axis % len(shape)
            shape = shape[:at] + shape[at + 1 :]
        if answer.shape != shape:
            raise NoAnswerError(f"returned shape {answer.shape}, expected {shape}")
        return answer

    def _answer(
        self,
        arrays: tuple[Array, ...],
        axis: int,
        keyword: str | None,
        library: str,
        options: dict[str, Any],
    ) -> Array:
        if keyword:
            options = {**options, keyword: axis}

        def call() -> tuple[Any, Any]:
            with self._types(library):
                returned = self.function(*(_given(a, library) for a in arrays), **options)
                return returned, _array(returned)

        try:
            outcome = self.limited(call)
        except TimeLimitError as error:
            if self.limited.left > MOST_LEFT or not hasattr(self, "library"):
                raise
            raise NoAnswerError(str(error)) from None
        self.printed = self.printed or outcome.printed
        if outcome.error is not None:
            raise NoAnswerError(_raised(outcome.error))
        self.returned, answer = outcome.value
        if answer is None or answer.dtype.kind not in "fiubV" or answer.dtype.names:
            kind = type(self.returned).__name__
            of = f" of {answer.dtype}" if answer is not None and hasattr(answer, "dtype") else ""
            raise NoAnswerError(f"returned {kind}{of}, expected an array of numbers")
        return answer

    def _wait(self, answer: Any) -> Any:
        return answer.block_until_ready() if hasattr(answer, "block_until_ready") else answer

    @contextlib.contextmanager
    def _types(self, library: str | None = None) -> Iterator[None]:
        """JAX with float64, for the calls within alone."""
        if (library or self.library) != "jax":
            yield
            return
        import jax

        home = jax if hasattr(jax, "enable_x64") else jax.experimental
        with home.enable_x64(True):
            yield


def name_of(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _options(function: Callable[..., Any]) -> frozenset[str] | None:
    """The names of its parameters, `**` if it takes any; None if it does not tell."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    variable = inspect.Parameter.VAR_KEYWORD
    return frozenset("**" if p.kind is variable else p.name for p in parameters)


def _libraries(function: Callable[..., Any]) -> list[str]:
    """Those that are imported, the one first in which the function is defined."""
    modules = [getattr(function, "__module__", None) or ""]
    modules += [kind.__module__ for kind in type(function).__mro__]
    own = {name.partition(".")[0] for name in modules}
    found = [name for name in _LIBRARIES if name in sys.modules]
    return sorted(found, key=lambda name: name not in own)


def _given(a: Array, library: str) -> Any:
    if library == "torch":
        return as_tensor(a)
    if library == "jax":
        import jax.numpy as jnp

        return jnp.asarray(a)
    return a


def _array(value: Any) -> Array | None:
    if value is None or isinstance(value, (str, bytes, dict, set)):
        return None
    try:
        return np.array(as_numpy(value))
    except Exception:
        return None


def _raised(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"raised {type(error).__name__}" + (f": {text:.120}" if text else "")
