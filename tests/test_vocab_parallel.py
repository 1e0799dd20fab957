"""Losses of a vocabulary that is sharded over processes: as of all of it in one."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracle_losses
import pytest
from measure import check, ulp
from oracle import WIDE, Reference
from process_group import Failed, shared_ranks
from test_linear import PRODUCTS
from test_linear import check as check_layer
from vocab_cases import DTYPES, Case, Outcome, drawn, run

import onesum

CASES = 24  # of each type: 7 shardings, and each option on and off beside the others


def outcomes(case: Case) -> list[Outcome]:
    """What the ranks have, who all have the loss of the same bits."""
    found = shared_ranks().call(run, [(case,)] * len(case.sizes))
    failed = [f for f in found if isinstance(f, Failed)]
    assert not failed, (failed, note(case))
    assert len({f.loss.tobytes() for f in found}) == 1
    return found


def note(case: Case) -> str:
    shown = case._replace(arrays={name: a.shape for name, a in case.arrays.items()})
    return f"{shown}"


def real(a: Any, axis: int, case: Case) -> Any:
    """Without padding."""
    return np.take(a, range(sum(case.sizes) - case.padding), axis=axis)


def in_one(case: Case) -> dict[str, Any]:
    """The arguments of the same loss where all classes are together."""
    target, options = case.target, dict(case.options)
    if target.dtype.kind not in "iu":
        target, options["ignore_index"] = real(target, case.axis, case), None
    weight = None if case.weight is None else real(case.weight, 0, case)
    return {"target": target, "weight": weight, **options}


def nothing_counts(case: Case) -> bool:
    """Then a mean is NaN, and its gradient 0."""
    indices = case.target.dtype.kind in "iu"
    return indices and bool(np.all(case.target == case.options["ignore_index"]))


def multiplied(case: Case, grad: Reference, dtype: str) -> Reference:
    """The gradient from that of the loss, which is of this type."""
    g = case.g.astype(dtype).astype(np.longdouble)
    g = np.expand_dims(g, case.axis) if g.ndim else g
    if nothing_counts(case):
        return Reference(*(np.zeros_like(a) for a in grad))
    return Reference(grad.value * g, grad.scale * np.abs(g))


@pytest.mark.parametrize("dtype", DTYPES)
def test_drawn_losses(dtype):
    for seed in range(CASES):
        case = drawn(seed, dtype, linear=False)
        found = outcomes(case)
        x = real(case.arrays["x"], case.axis, case)
        wanted = oracle_losses.cross_entropy(x, axis=case.axis, **in_one(case), arithmetic=WIDE)
        check(found[0].loss, wanted.loss, "cross_entropy", note(case))
        grad = np.concatenate([f.grads[0] for f in found], axis=case.axis)
        assert not np.any(np.delete(grad, range(x.shape[case.axis]), axis=case.axis))
        grad = real(grad, case.axis, case)
        check(grad, multiplied(case, wanted.grad, dtype), "cross_entropy_grad", note(case))


@pytest.mark.parametrize("dtype", DTYPES)
def test_drawn_layers(dtype):
    for seed in range(CASES):
        case = drawn(seed, dtype, linear=True)
        found = outcomes(case)
        arrays = {k: a if k == "h" else real(a, 0, case) for k, a in case.arrays.items()}
        options = in_one(case)
        wanted = layer(arrays, options, case)
        dh, *others = zip(*(f.grads for f in found), strict=True)
        assert len({a.tobytes() for a in dh}) == 1  # summed over the ranks
        others = [np.concatenate(parts) for parts in others]
        assert not any(np.any(a[len(arrays["weight_matrix"]) :]) for a in others)
        got = [found[0].loss, dh[0], *(real(a, 0, case) for a in others)]
        if dtype in ("float32", "float64"):
            check_layer(got, wanted, np.dtype(dtype), note(case))
        else:  # in float32, rounded once
            for a, b in zip(got, wanted, strict=True):
                check_rounded(a, b, note(case))


def layer(arrays: dict[str, Any], options: dict[str, Any], case: Case) -> list[Any]:
    """The loss and its gradients, times g, from all logits in float64."""
    h, w, *bias = (a.astype(np.float64) for a in arrays.values())
    x = h @ w.T + (bias[0] if bias else 0.0)
    loss, grad = onesum.cross_entropy_value_and_grad(x, **options)
    g = case.g.astype(case.arrays["h"].dtype).astype(np.float64)
    grad = 0.0 * grad if nothing_counts(case) else grad * (g[..., None] if g.ndim else g)
    rows = grad.reshape(-1, len(w))
    dw = rows.T @ h.reshape(-1, h.shape[-1])
    return [np.asarray(loss), grad @ w, dw, *([rows.sum(axis=0)] if bias else [])]


def check_rounded(got: Any, wanted: Any, note: str) -> None:
    """Off by what the rounding to 16 bits takes, and little more."""
    finite = np.isfinite(wanted)
    assert np.array_equal(got[~finite].astype(np.float64), wanted[~finite], equal_nan=True), note
    got, wanted, spacing = got[finite], wanted[finite], ulp(wanted[finite], got.dtype)
    scale = np.abs(wanted).max(initial=1.0)
    allowed = 0.5 * spacing + PRODUCTS * float(np.finfo(np.float32).eps) * scale
    assert np.all(np.abs(got.astype(np.float64) - wanted) <= allowed), note
