"""Derivatives through the libraries' own machinery, and the cases that have a name."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .lanes import SIXTEEN, Jax, Lane, Torch
from .right import CLASSES, ROWS, Answers, Check

import onesum  # isort: skip
import oracle  # isort: skip
import oracle_losses  # isort: skip
from oracle import WIDE  # isort: skip
from rows import logits  # isort: skip

SMALL = 4.248354255291589e-18  # exp(-40) of [40, 0]
LOSS = 2.061153618190204e-9  # exp(-20) / (1 + exp(-20)), the gradient of [20, 0]


def derivatives(lane: Lane, dtype: str) -> Iterator[Check]:
    for kind in ("spread 3", "gaps"):
        x = logits(kind, ROWS, CLASSES, dtype)
        g = np.random.default_rng(7).normal(size=x.shape).astype(dtype)
        y = np.random.default_rng(8).integers(0, CLASSES, ROWS)
        ways = _of_torch if isinstance(lane, Torch) else _of_jax if isinstance(lane, Jax) else None
        if ways is None:
            return
        for name, answer in ways(x, g, y):
            yield Check(name, kind, answer)


def _wanted(x: Any, g: Any, y: Any, p: Any, first: Any, loss: Any, again: Any) -> Answers:
    """The backward passes of softmax and of a loss, and what is derived of the second once more."""
    losses = oracle_losses.cross_entropy(x, y, reduction="sum", arithmetic=WIDE)
    product = oracle_losses.cross_entropy_hvp(x, y, g, reduction="sum", arithmetic=WIDE)
    return [
        ("softmax_vjp", first, oracle.softmax_vjp(p, g, arithmetic=WIDE)),
        ("cross_entropy_grad", loss, losses.grad),
        ("cross_entropy_hvp", again, product),
    ]


def _of_torch(x: Any, g: Any, y: Any) -> Iterator[tuple[str, Callable[[Any], Answers]]]:
    def of(softmax: Any, gradient: Callable[..., Any]) -> Callable[[Any], Answers]:
        def answer(lane: Any) -> Answers:
            import torch

            leaf, by, target = lane.send(x).requires_grad_(), lane.send(g), lane.send(y)
            p = (lane.compiled(softmax) if lane.compiles else softmax)(leaf)
            (first,) = torch.autograd.grad(p, leaf, by)
            loss, again = gradient(lane, leaf, target, by)
            return _wanted(x, g, y, lane.back(p), first, loss, again)

        return answer

    def total(x: Any, y: Any) -> Any:
        return onesum.cross_entropy(x, y, reduction="sum")

    def twice(lane: Any, x: Any, y: Any, v: Any) -> tuple[Any, Any]:
        import torch

        (first,) = torch.autograd.grad(total(x, y), x, create_graph=True)
        return first, torch.autograd.grad(first, x, v)[0]

    def functional(lane: Any, x: Any, y: Any, v: Any) -> tuple[Any, Any]:
        import torch

        gradient = torch.func.grad(total)
        _, again = torch.func.jvp(lambda x: gradient(x, y), (x.detach(),), (v,))
        return gradient(x.detach(), y), again

    def compiled(lane: Any, x: Any, y: Any, v: Any) -> tuple[Any, Any]:
        """A compiled function has no second derivative; a second derivative can be compiled."""
        import torch

        (first,) = torch.autograd.grad(lane.compiled(total)(x, y), x)
        gradient = torch.func.grad(total)
        whole = lane.compiled(
            lambda x, y, v: torch.func.jvp(lambda x: gradient(x, y), (x,), (v,))[1]
        )
        return first, whole(x.detach(), y, v)

    yield (
        "autograd",
        of(onesum.softmax, lambda lane, *a: (compiled if lane.compiles else twice)(lane, *a)),
    )
    yield (
        "torch.func",
        of(onesum.softmax, lambda lane, *a: (compiled if lane.compiles else functional)(lane, *a)),
    )


def _of_jax(x: Any, g: Any, y: Any) -> Iterator[tuple[str, Callable[[Any], Answers]]]:
    def total(x: Any, y: Any) -> Any:
        return onesum.cross_entropy(x, y, reduction="sum")

    def whole(lane: Any) -> Answers:
        jax = lane.jax

        @jax.jit
        def everything(x: Any, g: Any, y: Any) -> Any:
            p, pull = jax.vjp(onesum.softmax, x)
            gradient = jax.grad(total)
            return p, pull(g)[0], *jax.jvp(lambda x: gradient(x, y), (x,), (g,))

        p, *others = everything(*map(lane.send, (x, g, y)))
        return _wanted(x, g, y, lane.back(p), *others)

    def by_rows(lane: Any) -> Answers:
        jax = lane.jax

        def of_row(x: Any, g: Any, y: Any) -> Any:
            p, pull = jax.vjp(onesum.softmax, x)
            gradient = jax.grad(total)
            return p, pull(g)[0], *jax.jvp(lambda x: gradient(x, y), (x,), (g,))

        p, *others = jax.vmap(of_row)(*map(lane.send, (x, g, y)))
        return _wanted(x, g, y, lane.back(p), *others)

    yield "jit, grad, jvp", whole
    yield "vmap", by_rows


# --- cases with a name ------------------------------------------------------------------------


def named(lane: Lane) -> Iterator[tuple[str, Callable[[], tuple[bool, Any]]]]:
    """Each says whether it is as it should be, and what it got."""
    wide = "float64" in lane.dtypes
    for dtype in [d for d in lane.dtypes if d not in SIXTEEN]:
        yield f"VJP of [40, 0], {dtype}", _case(_of_forty, lane, dtype)
    yield "gradient of the loss of [20, 0], float32", _case(_of_twenty, lane)
    for dtype in [d for d in lane.dtypes if d in SIXTEEN]:
        yield f"70 000 zeros, {dtype}", _case(_of_zeros, lane, dtype)
    for dtype in lane.dtypes:
        yield f"a row of -inf, {dtype}", _case(_of_nothing, lane, dtype)
    yield "uint8", _case(_of_bytes, lane, "float64" if wide else "float32")


def _case(function: Callable[..., Any], *arguments: Any) -> Callable[[], tuple[bool, Any]]:
    return lambda: function(*arguments)


def _of_forty(lane: Lane, dtype: str) -> tuple[bool, Any]:
    p = lane.softmax(np.array([[40.0, 0.0]], dtype))
    got = lane.back(onesum.softmax_vjp(p, lane.send(np.array([[1.0, 0.0]], dtype))))[0]
    close = np.abs(got / [SMALL, -SMALL] - 1.0) <= 8 * np.finfo(dtype).eps
    return bool(np.all(close)), got.tolist()


def _of_twenty(lane: Lane) -> tuple[bool, Any]:
    x = np.array([[20.0, 0.0]], np.float32)
    _, grad = lane.cross_entropy_value_and_grad(x, np.array([0]))
    got = lane.back(grad)[0]
    close = np.abs(got / [-LOSS, LOSS] - 1.0) <= 8 * np.finfo(np.float32).eps
    return bool(np.all(close)) and float(got.sum()) == 0.0, got.tolist()


def _of_zeros(lane: Lane, dtype: str) -> tuple[bool, Any]:
    x = lane.send(np.zeros((1, 70_000), dtype))
    got = float(lane.back(onesum.logsumexp(x))[0])
    p = lane.back(onesum.softmax(x)).astype(np.float64)
    wanted = float(np.asarray(math.log(70_000)).astype(dtype))
    share = float(np.asarray(1 / 70_000).astype(dtype))
    return got == wanted and bool(np.all(p == share)), [got, p.min(), p.max()]


def _of_nothing(lane: Lane, dtype: str) -> tuple[bool, Any]:
    x = lane.send(np.full((2, 3), -np.inf).astype(dtype))
    functions = (onesum.softmax, onesum.log_softmax, onesum.logsumexp)
    p, logp, total = (lane.back(f(x)).astype(np.float64) for f in functions)
    ones = lane.send(np.ones(2).astype(dtype))
    slope = lane.back(onesum.logsumexp_vjp(x, ones)).astype(np.float64)
    right = np.isnan(p).all() and np.isnan(logp).all() and np.all(total == -np.inf)
    return bool(right and np.all(slope == 0.0)), [
        str(a.ravel()[0]) for a in (p, logp, total, slope)
    ]


def _of_bytes(lane: Lane, dtype: str) -> tuple[bool, Any]:
    got = lane.back(lane.softmax(np.array([[255, 0]], np.uint8)))
    wanted = np.exp(-255.0) if dtype == "float64" else 0.0
    near = abs(float(got[0, 1]) - wanted) <= 1e-14 * wanted
    return got.dtype.name == dtype and float(got[0, 0]) == 1.0 and near, [
        *got[0].tolist(),
        got.dtype.name,
    ]
