"""The function that is audited, and how it is called."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from textwrap import shorten
from typing import Any

import numpy as np

from .._library import dtype_name
from ..bench.peers import as_numpy, as_tensor
from . import _exact
from ._limit import Limited, TimeLimitError
from ._way import Way, libraries_of, name_of, parameters_of, ways

Array = Any

FORWARDS = ("softmax", "log_softmax", "logsumexp", "cross_entropy")
BACKWARDS = ("softmax_vjp", "log_softmax_vjp")
KINDS = FORWARDS + BACKWARDS
MOST_TOLD = 120  # characters of what a function says
MOST_LEFT = 4  # calls that do not return, until there are no more


class NoAnswerError(Exception):
    """The function raised, which is the cause then, or what it returned is no array."""


class ShapeError(NoAnswerError):
    """It returned an array of another shape than expected."""


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
        self.options = parameters_of(function)
        self.mean = False  # of a cross entropy: one number for all rows
        self._known = False  # how it is called
        self.library, self.way = self._how(library)
        self._known = True

    @property
    def has_axis(self) -> bool:
        return self.way.keyword is not None

    def __call__(self, *arrays: Array, axis: int = -1, **options: Any) -> Array:
        """Its answer. Raises NoAnswerError, or TimeLimitError. Without an axis it is given rows."""
        if self.kind == "cross_entropy":
            return self._log_probabilities(arrays[0], axis)
        if not self.has_axis and arrays[0].ndim != (1 if self.way.by_row else 2):
            return self._in_rows(arrays, axis)
        return self.as_they_are(*arrays, axis=axis, **options)

    def as_they_are(self, *arrays: Array, axis: int = -1, **options: Any) -> Array:
        """The same, of arrays of any shape in one call."""
        answer = self._answer(arrays, axis, options)
        shape = arrays[0].shape
        if self.kind == "logsumexp":
            at = axis % len(shape)
            shape = shape[:at] + shape[at + 1 :]
        if answer.shape != shape:
            raise ShapeError(f"returned shape {answer.shape}, expected {shape}")
        return answer

    @property
    def dtype(self) -> str:
        """That of what the last call returned."""
        return dtype_name(getattr(self.returned, "dtype", type(self.returned)))

    def losses(self, x: Array, target: Array, axis: int = -1) -> Array:
        """Of a cross entropy, what it returns for so many rows at once."""
        if not self.way.by_row:
            return self._answer((x, self._given_target(x, target, axis)), axis)
        rows = zip(np.moveaxis(x, axis, -1), target, strict=True)
        answers = [self._answer((row, np.asarray(t))) for row, t in rows]
        if any(a.size != 1 for a in answers):
            raise ShapeError(f"returned shape {answers[0].shape}, expected ()")
        return np.array(answers).reshape(len(target))

    def prepared(self, *arrays: Array, axis: int = -1) -> Callable[[], Any]:
        """A call whose arrays are of the right library already."""
        with self._types():
            ready = tuple(_given(a, self.library) for a in arrays)
        options = self._with_axis(axis)
        return lambda: self._wait(self.function(*ready, **options))

    def derivative(self, x: Array, *others: Array, g: Array) -> Array:
        """Its VJP at x, as its library derives it, with g for what it returned."""
        x = x.copy() if self.library == "torch" else x
        options = self._with_axis(-1)

        def call() -> Any:
            rest = [_given(a, self.library) for a in others]
            if self.library == "jax":
                import jax

                with self._types():
                    _, pull = jax.vjp(
                        lambda a: self.function(a, *rest, **options), _given(x, self.library)
                    )
                    return as_numpy(pull(_given(g, self.library))[0])
            tensor = as_tensor(x).requires_grad_()
            self.function(tensor, *rest, **options).backward(as_tensor(g))
            return as_numpy(tensor.grad)

        outcome = self.limited(call)
        if outcome.error is not None:
            raise NoAnswerError(_raised(outcome.error)) from outcome.error
        return outcome.value

    def _how(self, library: str | None) -> tuple[str, Way]:
        """The library and the way: the first in which arrays of any length are answered with such
        arrays. A cross entropy, and a function of lists, may answer to what it is not written for:
        of these the answer has to be right. If there is no such way, the first with an answer.
        """
        x = np.linspace(-2.0, 2.0, 16).reshape(4, 4)  # square: a sum along any axis is answered
        answered: list[tuple[str, Way, bool]] = []
        first: NoAnswerError | None = None
        losses = False  # so many as there are rows, or one, were answered
        for name in [library] if library else libraries_of(self.function):
            for way in ways(self.kind, self.options):
                if way.by_row and losses:  # right by itself, a row may be of a sum over the rows
                    continue
                self.library, self.way, self.mean = name, way, False
                try:
                    if self._suits(x):
                        return self.library, way
                    losses = self.kind == "cross_entropy"
                except ShapeError as error:
                    first = first or error
                except NoAnswerError as error:
                    first = first or error
                    continue
                answered.append((self.library, way, self.mean))
        if not answered:
            assert first is not None
            raise first
        self.library, self.way, self.mean = answered[0]
        return self.library, self.way

    def _suits(self, x: Array) -> bool:
        """Whether the way that is being tried does."""
        if self.kind == "cross_entropy":
            target = np.array([0, 2, 1, 3])
            got = self.losses(x, target)
            self._of_jax()
            self.mean = got.ndim == 0
            if got.shape not in ((), target.shape):
                raise ShapeError(f"returned shape {got.shape}, expected {target.shape} or ()")
            wanted = -_exact.rounded(_exact.forward("log_softmax", x))[np.arange(4), target]
            either = (wanted.mean(), wanted.sum()) if self.mean else (wanted,)
            return any(got.shape == w.shape and np.allclose(got, w, rtol=1e-2) for w in either)
        arrays: tuple[Array, ...] = (x,)
        if self.kind.endswith("_vjp"):
            first = np.full(x.shape, 0.25)
            arrays = (first if self.kind == "softmax_vjp" else np.log(first), x)
        got = self(*arrays)
        self._of_jax()
        if not self.has_axis and not self.way.by_row:
            if isinstance(self.returned, (list, tuple)):
                wanted = _exact.rounded(_exact.of(self.kind, *arrays))
                return bool(np.allclose(got, wanted, rtol=1e-2))
            with contextlib.suppress(NoAnswerError):
                self(*(a[:3] for a in arrays))
                return True
            return False
        return True

    def _of_jax(self) -> None:
        """A function of JAX takes NumPy's arrays, and answers with its own."""
        if type(self.returned).__module__.partition(".")[0] in ("jax", "jaxlib"):
            self.library = "jax"

    def _log_probabilities(self, x: Array, axis: int) -> Array:
        x = np.moveaxis(x, axis, -1)
        answer, dtype = np.empty(x.shape, np.float64), x.dtype
        k, n = x.shape
        for c in range(n):
            rows = [slice(i, i + 1) for i in range(k)] if self.mean else [slice(None)]
            for at in rows:
                given = np.moveaxis(x[at], -1, axis)
                loss = self.losses(given, np.full(len(x[at]), c), axis)
                if loss.shape not in ((len(x[at]),), ()):
                    raise ShapeError(f"returned shape {loss.shape}, expected {(k,)} or ()")
                answer[at, c], dtype = loss, loss.dtype
        return np.moveaxis((-answer).astype(dtype), -1, axis)

    def _given_target(self, x: Array, target: Array, axis: int) -> Array:
        if not self.way.one_hot:
            return target
        chosen = target[..., None] == np.arange(x.shape[axis])
        return np.moveaxis(chosen.astype(np.float64), -1, axis)

    def _in_rows(self, arrays: tuple[Array, ...], axis: int) -> Array:
        """One by one, or all of them as a matrix."""
        moved = [np.moveaxis(a, axis, -1) for a in arrays]
        rows = [a.reshape(math.prod(a.shape[:-1]), a.shape[-1]) for a in moved]
        if self.way.by_row:
            answer = np.array([self.as_they_are(*row) for row in zip(*rows, strict=True)])
        else:
            answer = self.as_they_are(*rows)
        if self.kind == "logsumexp":
            return answer.reshape(moved[0].shape[:-1])
        return np.moveaxis(answer.reshape(moved[0].shape), -1, axis)

    def _with_axis(self, axis: int) -> dict[str, Any]:
        return {self.way.keyword: axis} if self.way.keyword else {}

    def _answer(
        self, arrays: tuple[Array, ...], axis: int = -1, options: dict[str, Any] | None = None
    ) -> Array:
        options = {**(options or {}), **self._with_axis(axis)}

        def call() -> tuple[Any, Any]:
            with self._types():
                given = (_given(a, self.library) for a in arrays)
                returned = self.function(*given, **options)
                return returned, _array(returned)

        try:
            outcome = self.limited(call)
        except TimeLimitError as error:
            if self.limited.left > MOST_LEFT or not self._known:
                raise
            raise NoAnswerError(str(error)) from None
        self.printed = self.printed or outcome.printed
        if outcome.error is not None:
            raise NoAnswerError(_raised(outcome.error)) from outcome.error
        self.returned, answer = outcome.value
        if answer is None or answer.dtype.kind not in "fiubV" or answer.dtype.names:
            kind = type(self.returned).__name__
            of = f" of {answer.dtype}" if answer is not None and hasattr(answer, "dtype") else ""
            raise NoAnswerError(f"returned {kind}{of}, expected an array of numbers")
        return answer

    def _wait(self, answer: Any) -> Any:
        return answer.block_until_ready() if hasattr(answer, "block_until_ready") else answer

    @contextlib.contextmanager
    def _types(self) -> Iterator[None]:
        """JAX with float64, for the calls within alone."""
        if self.library != "jax":
            yield
            return
        import jax

        home = jax if hasattr(jax, "enable_x64") else jax.experimental
        with home.enable_x64(True):
            yield


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
    text = shorten(str(error), MOST_TOLD, placeholder=" ...")
    return f"raised {type(error).__name__}" + (f": {text}" if text else "")
