# mypy: allow-untyped-defs, allow-untyped-calls
"""Linear operations that know their transposed, so that a kernel may compute both.

JAX transposes what is written in its own operations, and nothing else. So a product with a Jacobian
is a primitive of its own where a kernel computes it, and its transposed is another one.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from . import core
from .numbers import Temperature


class Linear:
    """An operation linear in v: calls of `operation((fixed, ...), v, t, axis)`.

    formula(*fixed, v, t, axis) computes it where the core's function `kernel(*fixed, v, t)` does
    not, and JAX derives from it what the fixed operands and t change. Without a formula it is
    what JAX makes of the transposed one's; without a kernel the formula serves on CPUs too.
    `reads`: which of the fixed the kernel takes, all if None. `row`: the result has one element a
    row.
    """

    def __init__(self, name, kernel, formula=None, *, reads=None, row=False):
        self.kernel, self.reads, self.row = kernel, reads, row
        self.formula = formula or self._formula_of_transposed
        self.transposed = self
        self.primitive = primitive = Primitive(f"onesum_{name}")
        primitive.def_impl(jax.jit(self._compute, static_argnames=("axis", "tempered")))
        primitive.def_abstract_eval(self._abstract)
        mlir.register_lowering(primitive, mlir.lower_fun(self._compute, multiple_results=False))
        ad.primitive_jvps[primitive] = self._jvp
        ad.primitive_transposes[primitive] = self._transpose
        batching.primitive_batchers[primitive] = self._batch

    def __call__(self, fixed, v, t, axis):
        words = () if t is None else tuple(t)
        options = {"axis": axis - v.ndim, "tempered": t is not None}  # an axis that vmap leaves
        return self.primitive.bind(*fixed, *words, v, **options)

    @staticmethod
    def _operands(operands, tempered):
        *fixed, v = operands
        if not tempered:
            return fixed, v, None
        return fixed[:-2], v, Temperature(*fixed[-2:])

    def _written(self, *operands, axis, tempered):
        fixed, v, t = self._operands(operands, tempered)
        return self.formula(*fixed, v, t, axis + v.ndim)

    def _formula_of_transposed(self, *operands):
        *fixed, u, t, axis = operands
        v = fixed[0]  # of the right shape: where the operation is linear, numbers do not matter
        if self.row:
            v = lax.slice_in_dim(v, 0, 1, axis=axis)
        (result,) = jax.vjp(lambda v: self.transposed.formula(*fixed, v, t, axis), v)[1](u)
        return result

    def _compute(self, *operands, axis, tempered):
        fixed, v, t = self._operands(operands, tempered)
        read = range(len(fixed)) if self.reads is None else self.reads

        def formula(*fixed_and_rest):
            *fixed, v, t = fixed_and_rest
            return self.formula(*fixed, v, t, axis + v.ndim)

        if self.kernel is None:
            return formula(*fixed, v, t)
        options = {"reads": (*read, len(fixed)), "row": self.row}
        return core.either(self.kernel, formula, (*fixed, v), t, axis + v.ndim, **options)

    def _abstract(self, *avals, axis, tempered):
        shape = list(avals[0].shape)
        if self.row:
            shape[axis] = 1
        return avals[0].update(shape=tuple(shape), dtype=avals[-1].dtype, weak_type=False)

    def _jvp(self, primals, tangents, **options):
        value = self.primitive.bind(*primals, **options)
        *fixed, v = tangents
        parts = []
        if type(v) is not ad.Zero:
            parts.append(self.primitive.bind(*primals[:-1], v, **options))
        moved = [i for i, change in enumerate(fixed) if type(change) is not ad.Zero]
        if moved:

            def of_moved(*some):
                operands = list(primals)
                for i, a in zip(moved, some, strict=True):
                    operands[i] = a
                return self._written(*operands, **options)

            some, changes = [primals[i] for i in moved], [fixed[i] for i in moved]
            parts.append(jax.jvp(of_moved, some, changes)[1])
        return value, sum(parts[1:], parts[0])

    def _transpose(self, cotangent, *operands, **options):
        *fixed, v = operands
        if type(cotangent) is ad.Zero:
            result = ad.Zero(v.aval)
        else:
            result = self.transposed.primitive.bind(*fixed, cotangent, **options)
        return [None] * len(fixed) + [result]

    def _batch(self, operands, dims, *, axis, tempered):
        size = next(a.shape[d] for a, d in zip(operands, dims, strict=True) if d is not None)
        rank, several = operands[0].ndim + (dims[0] is None), []
        for a, d in zip(operands, dims, strict=True):
            if d is not None:
                a = jnp.moveaxis(a, d, 0)
                a = a.reshape(a.shape + (1,) * (rank - a.ndim))  # a temperature without axes
            elif a.ndim:
                a = jnp.broadcast_to(a, (size, *a.shape))
            several.append(a)
        return self.primitive.bind(*several, axis=axis, tempered=tempered), 0


def pair(one, other):
    """Two that are each other's transposed."""
    one.transposed, other.transposed = other, one
    return one, other
