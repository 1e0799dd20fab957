# mypy: allow-untyped-defs, allow-untyped-calls
"""The losses of rows of tensors, with the rules of their derivatives: continues `rules.py`.

The gradient of the cross entropy is an operation, and so is the product of its Hessian. What is
derived once more, or so rarely that a rule is not worth it, torch derives from the formulas.
"""

from typing import Any

import torch

from . import formulas, formulas_losses
from .differentiable import Operation, Rules
from .numbers import finite
from .rules import added, softmax, softmax_vjp


def _batch(x, axis):
    return (*x.shape[:axis], *x.shape[axis + 1 :])


def _at_least_float32(*arrays):
    wide = torch.float32
    for a in arrays:
        wide = torch.promote_types(wide, a.dtype)
    return wide


def _along(tangent, gradient, axis, dtype):
    """The tangents of the rows' losses."""
    wide = _at_least_float32(gradient)
    return (gradient.to(wide) * tangent.to(wide)).sum(axis).to(dtype)


class _OfTarget(Rules):
    """The cross entropy and what follows from it: after the operands come target and rows."""

    @classmethod
    def kept(cls, arguments, result):
        return arguments[: cls.tensors]


class _CrossEntropy(_OfTarget):
    operands, tensors, shared = 1, 7, 3

    @staticmethod
    def vjp(kept, options, needed, by):
        x, *constants = kept
        return (cross_entropy_gradient(x, by, *constants, *options[:-1], x.dtype),)

    @staticmethod
    def jvp(kept, options, tangents):
        x, *constants = kept
        by = torch.ones(_batch(x, options[0]), dtype=torch.float64, device=x.device)
        wide = _at_least_float32(x)
        gradient = cross_entropy_gradient(x, by, *constants, *options[:-1], wide)
        return _along(tangents[0], gradient, options[0], torch.float64)


cross_entropy = Operation("cross_entropy", _CrossEntropy)


class _CrossEntropyGradient(_OfTarget):
    operands, tensors, shared = 2, 8, 4

    @staticmethod
    def vjp(kept, options, needed, u):
        x, by, *constants = kept
        by_x = by_by = None
        if needed[0]:
            by_x = cross_entropy_hvp(x, u, by, *constants, *options[:-1], x.dtype)
        if needed[1]:
            gradient = cross_entropy_gradient(x, torch.ones_like(by), *constants, *options)
            by_by = _along(u, gradient, options[0], by.dtype)
        return by_x, by_by

    @staticmethod
    def jvp(kept, options, tangents):
        x, by, *constants = kept
        dx, dby = tangents
        along_x = along_by = None
        if dx is not None:
            along_x = cross_entropy_hvp(x, dx, by, *constants, *options)
        if dby is not None:
            along_by = cross_entropy_gradient(x, dby, *constants, *options)
        return added(along_x, along_by)


cross_entropy_gradient = Operation("cross_entropy_gradient", _CrossEntropyGradient)


class _CrossEntropyHvp(_OfTarget):
    operands, tensors, shared = 3, 9, 5

    @staticmethod
    def vjp(kept, options, needed, u):
        x, v, by, *constants = kept
        by_x = by_v = by_by = None
        if needed[0]:
            (by_x,) = _pulled(_hvp_of_x(kept, options), (x,), u)
        if needed[1]:
            by_v = cross_entropy_hvp(x, u, by, *constants, *options[:-1], v.dtype)
        if needed[2]:
            product = cross_entropy_hvp(x, v, torch.ones_like(by), *constants, *options)
            by_by = _along(u, product, options[0], by.dtype)
        return by_x, by_v, by_by

    @staticmethod
    def jvp(kept, options, tangents):
        x, v, by, *constants = kept
        dx, dv, dby = tangents
        along_x = along_v = along_by = None
        if dx is not None:
            along_x = _pushed(_hvp_of_x(kept, options), (x,), (dx,))
        if dv is not None:
            along_v = cross_entropy_hvp(x, dv, by, *constants, *options)
        if dby is not None:
            along_by = cross_entropy_hvp(x, v, dby, *constants, *options)
        return added(along_x, along_v, along_by)


cross_entropy_hvp = Operation("cross_entropy_hvp", _CrossEntropyHvp)


def _hvp_of_x(kept, options):
    _, *others = kept
    return lambda x: formulas_losses.cross_entropy_hvp(x, *others, *options)


class _Entropy(Rules):
    """Its derivative by x / T is that of softmax along x / T, with the other sign."""

    tensors = 3

    @staticmethod
    def kept(arguments, value):
        return arguments[:3]

    @staticmethod
    def vjp(kept, options, needed, u):
        return (_entropy_gradient(kept, options[0], u).to(kept[0].dtype),)

    @staticmethod
    def jvp(kept, options, tangents):
        x, axis = kept[0], options[0]
        ones = torch.ones(_batch(x, axis), device=x.device)
        return _along(tangents[0], _entropy_gradient(kept, axis, ones), *options)


entropy = Operation("entropy", _Entropy)


def _entropy_gradient(kept, axis, u):
    x, where, temperature = kept
    wide = _at_least_float32(x)
    p = softmax(x, where, temperature, axis, wide)
    # Where x is infinite, p is 0, or the row's only one.
    v = formulas.divided(finite(x.to(wide)), temperature)
    return -softmax_vjp(p, v, temperature, axis, wide) * u.to(wide).unsqueeze(axis)


class _KlDivergence(Rules):
    operands, tensors = 2, 4

    @staticmethod
    def kept(arguments, values):
        return arguments[:4]

    @staticmethod
    def vjp(kept, options, needed, by):
        x, y, where, temperature = kept
        wide = torch.promote_types(x.dtype, y.dtype)
        dx, dy = kl_divergence_gradient(x, y, by, where, temperature, options[0], wide)
        return dx.to(x.dtype), dy.to(y.dtype)

    @staticmethod
    def jvp(kept, options, tangents):
        x, y, where, temperature = kept
        axis, _ = options
        by = torch.ones(_batch(x, axis), dtype=torch.float64, device=x.device)
        wide = _at_least_float32(x, y)
        gradients = kl_divergence_gradient(x, y, by, where, temperature, axis, wide)
        along = (
            None if t is None else _along(t, g, axis, torch.float64)
            for t, g in zip(tangents, gradients, strict=True)
        )
        return added(*along)


kl_divergence = Operation("kl_divergence", _KlDivergence)


class _Total(Rules):
    """The sum of all losses."""

    tensors = 1

    @staticmethod
    def batched(operation, tensors, options):
        return tensors[0].unsqueeze(-1).flatten(1).sum(1)  # of one row, each may be a number

    @staticmethod
    def kept(arguments, result):
        return (arguments[0].shape,)

    @staticmethod
    def vjp(kept, options, needed, g):
        return (g.expand(kept[0]),)

    @staticmethod
    def jvp(kept, options, tangents):
        return tangents[0].sum()


total = Operation("total", _Total)


# --- what torch derives from the formulas ----------------------------------------------------


def _pulled(function: Any, primals: Any, cotangents: Any) -> Any:
    return torch.func.vjp(function, *primals)[1](cotangents)


def _pushed(function: Any, primals: Any, tangents: Any) -> Any:
    """J times the tangents, as the derivative of g J by g: forward mode may be at work already."""
    results, pull = torch.func.vjp(function, *primals)
    if not isinstance(results, tuple):
        return torch.func.vjp(pull, torch.zeros_like(results))[1](tangents)[0]
    zeros = tuple(torch.zeros_like(a) for a in results)
    return torch.func.vjp(lambda *g: pull(g), *zeros)[1](tangents)


def _derived(formula, operands, tensors, constant=()):
    """An operation whose rules are what torch makes of its formula."""

    def function_of(kept, options, chosen):
        def function(*values):
            arguments = list(kept)
            for i, value in zip(chosen, values, strict=True):
                arguments[i] = value
            return formula(*arguments, *options)

        return function, tuple(kept[i] for i in chosen)

    def kept(arguments, result):
        return arguments[:tensors]

    def vjp(kept, options, needed, *cotangents):
        chosen = [i for i in range(operands) if needed[i]]
        cotangents = cotangents if len(cotangents) > 1 else cotangents[0]
        function, primals = function_of(kept, options, chosen)
        gradients = _pulled(function, primals, cotangents)
        found = dict(zip(chosen, gradients, strict=True))
        return tuple(found.get(i) for i in range(operands))

    def jvp(kept, options, tangents):
        chosen = [i for i, t in enumerate(tangents) if t is not None]
        function, primals = function_of(kept, options, chosen)
        return _pushed(function, primals, tuple(tangents[i] for i in chosen))

    rules = {"operands": operands, "tensors": tensors, "constant": constant}
    rules |= {f.__name__: staticmethod(f) for f in (kept, vjp, jvp)}
    return Operation(formula.__name__, type("_Derived", (Rules,), rules))


kl_divergence_gradient = _derived(formulas_losses.kl_divergence_gradient, 3, 5)
softmax_diagonal = _derived(formulas.softmax_diagonal, 1, 2)
log_softmax_diagonal = _derived(formulas.log_softmax_diagonal, 1, 2)
signed_logsumexp = _derived(formulas.signed_logsumexp, 2, 4, constant=(1,))  # the sign
