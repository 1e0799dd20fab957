"""What a backend is: the functions that compute, on arguments that have been checked.

A backend is a module, or any object, that has these. The public functions bring whatever a caller
may write to this one form (`_arguments/`):

- `x`, `p`, `logp`, `g`, `v`, `y`: arrays of one library, floating, at least 1-d, of one shape;
- `axis`: the class axis, an int, 0 <= axis < ndim;
- `where`: None, or bools of the shape of x: what is outside is not to be read;
- `temperature`: a float, or an array of the widest type with size 1 along the class axis;
- `dtype`: of the result, one of the four floating types;
- `out`: None, or an array of exactly the result's shape and dtype, aligned, in native byte order,
  that lies apart from every argument or is exactly an operand of the shape of x, which is read
  class by class as `out` is written. Only NumPy's backends are given one;
- `by`: what gradients are multiplied by: a float, or an array of no dimensions where the values of
  a call are not known when it is made.
"""

from __future__ import annotations

from typing import Any, Protocol

from .compared import Compared
from .target import Target

Array = Any
Temperature = Any


class Direct(Protocol):
    """What a public function asks first, with its arguments as they came.

    Each function answers NotImplemented to whatever is not plain, and so leaves errors and all that
    is rare to the checks. Plain is, at most: arrays of one floating type and one library; one class
    axis, an int; the temperature a float above 0; an `out` that overlaps no argument, or is one.
    """

    def softmax(self, x: Any, axis: Any, temperature: Any, out: Any, /) -> Any: ...
    def log_softmax(self, x: Any, axis: Any, temperature: Any, out: Any, /) -> Any: ...
    def logsumexp(self, x: Any, axis: Any, temperature: Any, out: Any, keepdims: Any, /) -> Any: ...
    def softmax_vjp(self, p: Any, g: Any, axis: Any, temperature: Any, out: Any, /) -> Any: ...
    def log_softmax_vjp(
        self, logp: Any, g: Any, axis: Any, temperature: Any, out: Any, /
    ) -> Any: ...
    def log_softmax_jvp(
        self, logp: Any, v: Any, axis: Any, temperature: Any, out: Any, /
    ) -> Any: ...
    def logsumexp_vjp(
        self, x: Any, g: Any, axis: Any, temperature: Any, out: Any, keepdims: Any, /
    ) -> Any: ...
    def logsumexp_jvp(
        self, x: Any, v: Any, axis: Any, temperature: Any, out: Any, keepdims: Any, /
    ) -> Any: ...
    def cross_entropy(
        self,
        x: Any,
        target: Any,
        axis: Any,
        weight: Any,
        label_smoothing: Any,
        ignore_index: Any,
        sample_weight: Any,
        z_loss: Any,
        softcap: Any,
        temperature: Any,
        where: Any,
        reduction: Any,
        gradient: Any,
        out: Any,
        /,
    ) -> Any: ...


class Backend(Protocol):
    """The functions of a backend, all arguments given."""

    @property
    def direct(self) -> Direct: ...

    def is_concrete(self, a: Array, /) -> bool:
        """Whether the values of an array can be looked at now: not while it is traced, or lazy."""
        ...

    def softmax(
        self, x: Array, axis: int, where: Array, temperature: Temperature, dtype: Any, out: Array, /
    ) -> Array: ...

    def log_softmax(
        self, x: Array, axis: int, where: Array, temperature: Temperature, dtype: Any, out: Array, /
    ) -> Array: ...

    def logsumexp(
        self, x: Array, axis: int, where: Array, temperature: Temperature, dtype: Any, out: Array, /
    ) -> Array:
        """Drops the axis."""
        ...

    def signed_logsumexp(
        self, x: Array, b: Array, axis: int, where: Array, temperature: Temperature, dtype: Any, /
    ) -> tuple[Array, Array]:
        """log abs(sum b exp(x/T)) and the sum's sign. Drops the axis."""
        ...

    def softmax_vjp(
        self, p: Array, g: Array, axis: int, temperature: Temperature, dtype: Any, out: Array, /
    ) -> Array:
        """The Jacobian is symmetric: the JVP too."""
        ...

    def log_softmax_vjp(
        self, logp: Array, g: Array, axis: int, temperature: Temperature, dtype: Any, out: Array, /
    ) -> Array: ...

    def log_softmax_jvp(
        self, logp: Array, v: Array, axis: int, temperature: Temperature, dtype: Any, out: Array, /
    ) -> Array: ...

    def logsumexp_vjp(
        self,
        x: Array,
        g: Array,
        axis: int,
        where: Array,
        temperature: Temperature,
        dtype: Any,
        out: Array,
        /,
    ) -> Array:
        """g has size 1 along the axis."""
        ...

    def logsumexp_jvp(
        self,
        x: Array,
        v: Array,
        axis: int,
        where: Array,
        temperature: Temperature,
        dtype: Any,
        out: Array,
        /,
    ) -> Array:
        """Drops the axis."""
        ...

    def softmax_diagonal(
        self, p: Array, axis: int, temperature: Temperature, dtype: Any, /
    ) -> Array:
        """The diagonal of the Jacobian."""
        ...

    def log_softmax_diagonal(
        self, logp: Array, axis: int, temperature: Temperature, dtype: Any, /
    ) -> Array: ...

    # Chunks of the class axis (`reference/chunks.py`). Numbers in two words are pairs of arrays.

    def normalizer(
        self, x: Array, axis: int, where: Array, temperature: Temperature, /
    ) -> tuple[Array, Array, Array]:
        """m and the two words of r, in the widest type. Drops the axis."""
        ...

    def pivot_index(self, x: Array, axis: int, where: Array, m: Array, /) -> Array:
        """The first class that is m, or the first NaN; -1 where m is -inf. Drops the axis, as m
        has.
        """
        ...

    def shifted_exp(
        self,
        x: Array,
        axis: int,
        where: Array,
        temperature: Temperature,
        m: Array,
        scale: tuple[Array, Array],
        dtype: Any,
        out: Array,
        /,
    ) -> Array:
        """scale exp((x - m) / T), 0 outside `where`; m and scale have size 1 along the axis."""
        ...

    def shifted_logits(
        self,
        x: Array,
        axis: int,
        where: Array,
        temperature: Temperature,
        m: Array,
        log_rest: tuple[Array, Array],
        dtype: Any,
        out: Array,
        /,
    ) -> Array:
        """(x - m) / T - log_rest, -inf outside `where`."""
        ...

    # Losses: one number a row, without the class axis, in the widest type: the public functions
    # reduce and round. Gradients are those of the rows' sum, multiplied by `by`. With a `softcap` c
    # the logits become c tanh(x / c) before anything else; derivatives are those by x.

    def cross_entropy(
        self,
        x: Array,
        target: Target,
        axis: int,
        z_loss: float,
        softcap: float | None,
        where: Array,
        temperature: Temperature,
        by: Any,
        gradient: bool,
        dtype: Any,
        out: Array,
        /,
    ) -> tuple[Array, Array | None]:
        """The losses, and the gradient if it is wanted."""
        ...

    def cross_entropy_hvp(
        self,
        x: Array,
        target: Target,
        v: Array,
        axis: int,
        z_loss: float,
        softcap: float | None,
        where: Array,
        temperature: Temperature,
        by: Any,
        dtype: Any,
        out: Array,
        /,
    ) -> Array:
        """The Hessian times v."""
        ...

    def entropy(
        self, x: Array, axis: int, where: Array, temperature: Temperature, dtype: Any, /
    ) -> Array: ...

    def kl_divergence(
        self,
        x: Array,
        y: Array,
        axis: int,
        where: Array,
        temperature: Temperature,
        by: Any,
        gradient: bool,
        dtype: Any,
        /,
    ) -> tuple[Array, tuple[Array, Array] | None]:
        """The divergences, and the gradients by x and by y if they are wanted."""
        ...

    def total(self, losses: Array, /) -> Any:
        """The sum of all numbers of an array, as if in twice the digits."""
        ...


class NumPyBackend(Backend, Protocol):
    """What those of NumPy's arrays have beside: what is asked of arrays as they are read."""

    def divergences(self, x: Array, y: Array, axis: int, dtype: Any, /) -> Compared:
        """`dtype` is that of x and y together."""
        ...
