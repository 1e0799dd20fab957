# mypy: allow-untyped-defs, allow-untyped-calls
"""The operations on rows of tensors, with the rules of their derivatives.

The derivative of softmax is `softmax_vjp`, that of `softmax_vjp` by g is itself, and so on: what is
exact in the kernels stays exact in every order that has a kernel. By p, or log p, a product is
derived as the function of two free arguments that is computed, with its pivot. u is a cotangent.
"""

import torch

from .differentiable import Operation, Rules
from .formulas import beside, divided, less_pivot
from .numbers import others, sum_of, widen


def added(*terms):
    """The sum of those there are."""
    there = [term for term in terms if term is not None]
    return sum(there[1:], there[0])


class _Softmax(Rules):
    tensors = 3

    @staticmethod
    def kept(arguments, p):
        x, _, temperature, *_ = arguments
        return p, temperature, x.dtype

    @staticmethod
    def vjp(kept, options, needed, g):
        p, temperature, dtype = kept
        return (softmax_vjp(p, g, temperature, options[0], dtype),)

    @staticmethod
    def jvp(kept, options, tangents):
        p, temperature, _ = kept
        return softmax_vjp(p, tangents[0], temperature, *options)


softmax = Operation("softmax", _Softmax)


class _LogSoftmax(Rules):
    tensors = 3

    @staticmethod
    def kept(arguments, logp):
        x, _, temperature, *_ = arguments
        return logp, temperature, x.dtype

    @staticmethod
    def vjp(kept, options, needed, g):
        logp, temperature, dtype = kept
        return (log_softmax_vjp(logp, g, temperature, options[0], dtype),)

    @staticmethod
    def jvp(kept, options, tangents):
        logp, temperature, _ = kept
        return log_softmax_jvp(logp, tangents[0], temperature, *options)


log_softmax = Operation("log_softmax", _LogSoftmax)


class _Logsumexp(Rules):
    tensors = 3

    @staticmethod
    def kept(arguments, value):
        return arguments[:3]

    @staticmethod
    def vjp(kept, options, needed, g):
        x, where, temperature = kept
        axis, _ = options
        dx = logsumexp_vjp(x, g.unsqueeze(axis), where, temperature, axis, x.dtype)
        return (dx,)

    @staticmethod
    def jvp(kept, options, tangents):
        x, where, temperature = kept
        return logsumexp_jvp(x, tangents[0], where, temperature, *options)


logsumexp = Operation("logsumexp", _Logsumexp)


# --- their derivatives -----------------------------------------------------------------------


def _kept_product(arguments, result):
    return arguments[:3]


class _SoftmaxVjp(Rules):
    """f_i = p_i (w_i - S) / T, with w_i = g_i - g_pivot and S = sum p w."""

    operands, tensors = 2, 3
    kept = staticmethod(_kept_product)

    @staticmethod
    def vjp(kept, options, needed, u):
        p, g, temperature = kept
        axis, _ = options
        by_p = softmax_vjp_by_p(p, g, u, temperature, axis) if needed[0] else None
        by_g = softmax_vjp(p, u, temperature, axis, g.dtype) if needed[1] else None
        return by_p, by_g

    @staticmethod
    def jvp(kept, options, tangents):
        p, g, temperature = kept
        dp, dg = tangents
        axis, dtype = options
        along_p = along_g = None
        if dp is not None:
            p_, g_, dp = widen(dtype, p, g, dp)
            index, _, live, g_ = beside(p_, g_, 0.0, axis)
            w = less_pivot(g_, index, axis)
            change = dp * (w - sum_of(p_ * w, axis)) - p_ * sum_of(dp * w, axis)
            along_p = torch.where(live, divided(change, temperature), 0.0).to(dtype)
        if dg is not None:
            along_g = softmax_vjp(p, dg, temperature, axis, dtype)
        return added(along_p, along_g)


softmax_vjp = Operation("softmax_vjp", _SoftmaxVjp)


def softmax_vjp_by_p(p, g, u, temperature, axis):
    """(u_i (w_i - S) - w_i sum(p u)) / T.

    What all u have in common cancels where p sums to 1. So the pivot's is taken from them first,
    and what it does otherwise is put together from 1 - sum(p) and S.
    """
    dtype = p.dtype
    p, g, u = widen(dtype, p, g, u)
    index, pivot, live, g = beside(p, g, 0.0, axis)
    u = torch.where(live, u, 0.0)
    w, v = less_pivot(g, index, axis), less_pivot(u, index, axis)
    s = sum_of(p * w, axis)
    p_pivot = sum_of(torch.where(pivot, p, 0.0), axis)
    u_pivot = sum_of(torch.where(pivot, u, 0.0), axis)
    lacking = (1.0 - p_pivot) - sum_of(others(pivot, p), axis)
    result = v * (w - s) - w * sum_of(p * v, axis) + u_pivot * (w * lacking - s)
    return torch.where(live, divided(result, temperature), 0.0).to(dtype)


class _LogSoftmaxVjp(Rules):
    """f_i = (g_i - p_i sum(g)) / T; at the pivot sum_j (p_j g_pivot - p_pivot g_j), others j."""

    operands, tensors = 2, 3
    kept = staticmethod(_kept_product)

    @staticmethod
    def vjp(kept, options, needed, u):
        logp, g, temperature = kept
        axis, _ = options
        by_p = by_g = None
        if needed[0]:
            p, live, g_pivot, g_others, pivot = _pivoted(logp, g, axis)
            u_ = torch.where(live, u.to(p.dtype), 0.0)
            u_pivot = sum_of(torch.where(pivot, u_, 0.0), axis)
            there = -u_ * p * g_others
            by_p = torch.where(pivot, there, p * (g_pivot * (u_pivot - u_) - u_ * g_others))
            by_p = torch.where(live, divided(by_p, temperature), 0.0).to(logp.dtype)
        if needed[1]:
            by_g = log_softmax_jvp(logp, u, temperature, axis, g.dtype)
        return by_p, by_g

    @staticmethod
    def jvp(kept, options, tangents):
        logp, g, temperature = kept
        dlogp, dg = tangents
        axis, dtype = options
        along_p = along_g = None
        if dlogp is not None:
            p, live, g_pivot, g_others, pivot = _pivoted(logp, g, axis)
            dp = torch.where(live, p * dlogp.to(p.dtype), 0.0)
            there = g_pivot * sum_of(others(pivot, dp), axis) - dp * g_others
            change = torch.where(pivot, there, -dp * (g_pivot + g_others))
            along_p = divided(change, temperature).to(dtype)
        if dg is not None:
            along_g = log_softmax_vjp(logp, dg, temperature, axis, dtype)
        return added(along_p, along_g)


log_softmax_vjp = Operation("log_softmax_vjp", _LogSoftmaxVjp)


def _pivoted(logp, g, axis):
    logp, g = widen(None, logp, g)
    _, pivot, live, g = beside(logp, g, -torch.inf, axis)
    g_pivot = sum_of(torch.where(pivot, g, 0.0), axis)
    return torch.exp(logp), live, g_pivot, sum_of(others(pivot, g), axis), pivot


class _LogSoftmaxJvp(Rules):
    """f_i = (w_i - S) / T, with w_i = v_i - v_pivot and S = sum p w."""

    operands, tensors = 2, 3
    kept = staticmethod(_kept_product)

    @staticmethod
    def vjp(kept, options, needed, u):
        logp, v, temperature = kept
        axis, _ = options
        by_p = by_v = None
        if needed[0]:
            weighed, live = _weighed(logp, v, axis)
            u_all = sum_of(torch.where(live, u.to(weighed.dtype), 0.0), axis)
            by_p = divided(-weighed * u_all, temperature).to(logp.dtype)
        if needed[1]:
            by_v = log_softmax_vjp(logp, u, temperature, axis, v.dtype)
        return by_p, by_v

    @staticmethod
    def jvp(kept, options, tangents):
        logp, v, temperature = kept
        dlogp, dv = tangents
        axis, dtype = options
        along_p = along_v = None
        if dlogp is not None:
            weighed, live = _weighed(logp, v, axis)
            dlogp = torch.where(live, dlogp.to(weighed.dtype), 0.0)
            change = divided(-sum_of(weighed * dlogp, axis), temperature)
            along_p = torch.where(live, change, 0.0).to(dtype)
        if dv is not None:
            along_v = log_softmax_jvp(logp, dv, temperature, axis, dtype)
        return added(along_p, along_v)


log_softmax_jvp = Operation("log_softmax_jvp", _LogSoftmaxJvp)


def _weighed(logp, v, axis):
    """p w, and where it is to be had."""
    logp, v = widen(None, logp, v)
    index, _, live, v = beside(logp, v, -torch.inf, axis)
    return torch.exp(logp) * less_pivot(v, index, axis), live


def _probabilities(x, where, temperature, axis):
    """p of the logits, 0 in rows of nothing but -inf."""
    wide = torch.promote_types(x.dtype, torch.float32)
    shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    rows = torch.ones(shape, dtype=wide, device=x.device) * temperature
    return logsumexp_vjp(x, rows.to(wide), where, temperature, axis, wide)


class _LogsumexpVjp(Rules):
    """g p / T, with one g for each row."""

    operands, tensors = 2, 4

    @staticmethod
    def kept(arguments, result):
        return arguments[:4]

    @staticmethod
    def vjp(kept, options, needed, u):
        x, g, where, temperature = kept
        axis, _ = options
        by_x = by_g = None
        if needed[0]:
            p = _probabilities(x, where, temperature, axis)
            c = divided(u.to(p.dtype) * g.to(p.dtype), temperature)
            by_x = softmax_vjp(p, c, temperature, axis, x.dtype)
        if needed[1]:
            by_g = logsumexp_jvp(x, u, where, temperature, axis, g.dtype).unsqueeze(axis)
        return by_x, by_g

    @staticmethod
    def jvp(kept, options, tangents):
        x, g, where, temperature = kept
        dx, dg = tangents
        axis, dtype = options
        along_x = along_g = None
        if dx is not None:
            p = _probabilities(x, where, temperature, axis)
            c = divided(dx.to(p.dtype) * g.to(p.dtype), temperature)
            along_x = softmax_vjp(p, c, temperature, axis, dtype)
        if dg is not None:
            along_g = logsumexp_vjp(x, dg, where, temperature, axis, dtype)
        return added(along_x, along_g)


logsumexp_vjp = Operation("logsumexp_vjp", _LogsumexpVjp)


class _LogsumexpJvp(Rules):
    """sum(p v) / T."""

    operands, tensors = 2, 4

    @staticmethod
    def kept(arguments, result):
        return arguments[:4]

    @staticmethod
    def vjp(kept, options, needed, u):
        x, v, where, temperature = kept
        axis, _ = options
        u = u.unsqueeze(axis)
        by_x = by_v = None
        if needed[0]:
            p = _probabilities(x, where, temperature, axis)
            c = divided(v.to(p.dtype) * u.to(p.dtype), temperature)
            by_x = softmax_vjp(p, c, temperature, axis, x.dtype)
        if needed[1]:
            by_v = logsumexp_vjp(x, u, where, temperature, axis, v.dtype)
        return by_x, by_v

    @staticmethod
    def jvp(kept, options, tangents):
        x, v, where, temperature = kept
        dx, dv = tangents
        axis, dtype = options
        along_x = along_v = None
        if dx is not None:
            p = _probabilities(x, where, temperature, axis)
            c = softmax_vjp(p, divided(v.to(p.dtype), temperature), temperature, axis, p.dtype)
            along_x = (c * dx.to(p.dtype)).sum(axis).to(dtype)
        if dv is not None:
            along_v = logsumexp_jvp(x, dv, where, temperature, axis, dtype)
        return added(along_x, along_v)


logsumexp_jvp = Operation("logsumexp_jvp", _LogsumexpJvp)
