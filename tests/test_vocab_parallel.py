"""Losses of a vocabulary that is sharded over processes: as of all of it in one."""

from __future__ import annotations

import runpy
from typing import Any

import numpy as np
import oracle_losses
import pytest
import torch.distributed as dist
import vocab_on_ranks
from budget import FORMULAS
from measure import check, ulp
from oracle import WIDE, Reference
from process_group import Failed, shared_ranks
from test_linear import PRODUCTS
from test_linear import check as check_layer
from vocab_cases import DTYPES, Case, Outcome, drawn, run, run_elsewhere, run_under_autocast

import onesum

CASES = 24  # of each type: 7 shardings, each option on and off


def outcomes(case: Case, function: Any = run) -> list[Outcome]:
    """What the ranks have, who all have the loss of the same bits."""
    found = shared_ranks().call(function, [(case,)] * len(case.sizes))
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


def losses_are_right(case: Case, found: list[Outcome], times: float = 1.0) -> None:
    """Of logits: within so many times the budget of exact arithmetic."""
    x = real(case.arrays["x"], case.axis, case)
    with np.errstate(all="ignore"):  # the mean of nothing
        wanted = oracle_losses.cross_entropy(x, axis=case.axis, **in_one(case), arithmetic=WIDE)
    grad = np.concatenate([f.grads[0] for f in found], axis=case.axis)
    assert not np.any(np.delete(grad, range(x.shape[case.axis]), axis=case.axis))
    grad = real(grad, case.axis, case)
    gradient = multiplied(case, wanted.grad, str(x.dtype))
    for got, reference, function in [
        (found[0].loss, wanted.loss, "cross_entropy"),
        (grad, gradient, "cross_entropy_grad"),
    ]:
        scaled = Reference(reference.value, reference.scale * times)
        check(got, scaled, function, note(case))


@pytest.mark.parametrize("dtype", DTYPES)
def test_drawn_losses(dtype):
    for seed in range(CASES):
        case = drawn(seed, dtype, linear=False)
        losses_are_right(case, outcomes(case))


@pytest.mark.parametrize("dtype", DTYPES)
def test_drawn_losses_elsewhere(dtype):
    for seed in range(0, CASES, 3):
        case = drawn(seed, dtype, linear=False)
        losses_are_right(case, outcomes(case, run_elsewhere), FORMULAS)


@pytest.mark.parametrize("dtype", DTYPES)
def test_drawn_layers(dtype):
    for seed in range(CASES):
        case = drawn(seed, dtype, linear=True)
        for way in [run, run_elsewhere] if seed % 4 == 0 else [run]:
            layer_is_right(case, outcomes(case, way))


def test_autocast_elsewhere():
    """It is no matter of the products: they are those of backward."""
    for seed in range(0, CASES, 5):
        case = drawn(seed, "float32", linear=True)
        layer_is_right(case, outcomes(case, run_under_autocast))
        case = drawn(seed, "float32", linear=False)
        losses_are_right(case, outcomes(case, run_under_autocast), FORMULAS)


def layer_is_right(case: Case, found: list[Outcome]) -> None:
    arrays = {k: a if k == "h" else real(a, 0, case) for k, a in case.arrays.items()}
    wanted = layer(arrays, in_one(case), case)
    dh, *others = zip(*(f.grads for f in found), strict=True)
    assert len({a.tobytes() for a in dh}) == 1  # summed over the ranks
    others = [np.concatenate(parts) for parts in others]
    assert not any(np.any(a[len(arrays["weight_matrix"]) :]) for a in others)
    got = [found[0].loss, dh[0], *(real(a, 0, case) for a in others)]
    dtype = arrays["h"].dtype
    if dtype in ("float32", "float64"):
        check_layer(got, wanted, dtype, note(case))
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


def plain(x: Any, target: Any, sizes: tuple[int, ...], **options: Any) -> Case:
    """A case with options of its own and no others."""
    usual = {"label_smoothing": 0.0, "ignore_index": -100, "z_loss": 0.0, "softcap": None}
    usual |= {"temperature": 1.0, "reduction": "mean"} | options
    padding, g = usual.pop("padding", 0), usual.pop("g", np.array(1.0))
    return Case({"x": x}, target, x.ndim - 1, sizes, padding, False, None, usual, g, None)


def right(case: Case) -> list[Outcome]:
    """The outcomes, which are within the budget of exact arithmetic."""
    found = outcomes(case)
    losses_are_right(case, found)
    return found


RNG = np.random.default_rng(0)
X = RNG.normal(0, 3, (6, 8)).astype("float32")
Y = RNG.integers(0, 8, 6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_many_classes(smoothing):
    x = RNG.normal(0, 3, (20, 6001)).astype("float32")
    right(plain(x, RNG.integers(0, 6001, 20), (3001, 3000), label_smoothing=smoothing))


def test_smoothing_over_the_vocabulary_of_all_ranks():
    """Megatron-LM issues 737 and 7464: it was spread over the classes of the rank."""
    right(plain(X, Y, (4, 4), label_smoothing=0.1))


def test_the_gradient_of_a_softcap():
    """unsloth-zoo pull request 593: it had the slope of another cap."""
    right(plain(8 * X, Y, (4, 4), softcap=30.0))


def test_padding_has_no_mass():
    """unsloth pull request 10616: padded columns of 0 had up to 48 % of it."""
    x = np.concatenate([X - 5, np.zeros((6, 4), "float32")], axis=1)
    for sizes in [(6, 6), (4, 8), (8, 4), (3, 3, 3, 3)]:
        found = right(plain(x, Y, sizes, padding=4, label_smoothing=0.1))
        grad = np.concatenate([f.grads[0] for f in found], axis=1)
        assert not np.any(grad[:, 8:])


def test_padding_that_is_to_be_ignored():
    """Cut Cross-Entropy pull request 59: a loss of inf, where the ignored index is a padded one."""
    x = np.concatenate([X, np.full((6, 4), np.inf, "float32")], axis=1)
    target = np.where(np.arange(6) % 2 == 0, Y, 9)
    right(plain(x, target, (6, 6), padding=4, ignore_index=9))
    right(plain(x, target, (6, 6), padding=4, ignore_index=9, reduction="none", g=np.ones(6)))


def test_the_gradient_of_a_loss_for_each_row():
    """Liger-Kernel issue 968: with reduction="none", what came after was left out."""
    g = np.array([1.0, -2.0, 0.0, 0.5, 3.0, -1.0])
    right(plain(X, Y, (4, 4), reduction="none", g=g))


def test_bfloat16_where_the_target_has_nearly_all():
    """Liger-Kernel issue 1329: at p = 0.999 the gradient p - 1 of rounded p was off by 100 %."""
    x = np.zeros((3, 8))
    x[:, 0] = np.log([999 * 7, 9999 * 7, 99 * 7])
    right(plain(x.astype("bfloat16"), np.zeros(3, int), (4, 4)))


def test_bytes_sent():
    """O(rows): as the documentation has it, whatever the number of classes."""
    for n in (8, 80):
        x, y = RNG.normal(size=(50, n)), RNG.integers(0, n, 50)
        for smoothing, numbers in ((0.0, 9), (0.1, 13)):
            case = plain(x, y, (n // 2, n // 2), label_smoothing=smoothing)
            for outcome in outcomes(case):
                assert sum(outcome.sent.values()) == 256 + 8 * numbers * 50
            layer = {"h": RNG.normal(size=(50, 3)), "weight_matrix": RNG.normal(size=(n, 3))}
            for outcome in outcomes(case._replace(arrays=layer)):
                assert outcome.sent.pop("all_reduce") == 8 * 50 * 3
                assert sum(outcome.sent.values()) == 256 + 8 * numbers * 50


ON_RANKS = {
    "as_it_is": 2,
    "without_gradients": 2,
    "changed_in_between": 2,
    "dh_of_its_own": 2,
    "in_mesh": 4,
    "beside_dtensors": 4,
}


@pytest.mark.parametrize("name", ON_RANKS)
def test_on_ranks(name):
    """What is asserted by the ranks themselves."""
    ranks = ON_RANKS[name]
    assert shared_ranks().call(getattr(vocab_on_ranks, name), [()] * ranks) == [None] * ranks


def test_memory_of_a_layer():
    """Less than half of the logits, which are 16 MB, and of those of float64, with smoothing."""
    for smoothing, most in ((0.0, 8), (0.1, 16)):
        (taken,) = shared_ranks().call(vocab_on_ranks.peak, [(smoothing,)])
        assert taken < most * 1e6


def test_a_training():
    """The example's: as of one process, step by step, as far as Adam lets roundings grow."""
    (alone,) = shared_ranks().call(vocab_on_ranks.trained, [()])
    four = shared_ranks().call(vocab_on_ranks.trained, [()] * 4)
    assert alone[-1] < 0.6 * alone[0]
    assert four == [four[0]] * 4
    np.testing.assert_allclose(four[0], alone, rtol=1e-4)


def test_a_training_of_many_processes(monkeypatch):
    """Each has a part, though equal ones of 256 classes would be 16."""
    train = runpy.run_path(str(vocab_on_ranks.EXAMPLE))["train"]
    monkeypatch.setitem(train.__globals__, "STEPS", 0)
    monkeypatch.setattr(dist, "get_world_size", lambda group: 17)
    for rank in range(17):
        monkeypatch.setattr(dist, "get_rank", lambda group, rank=rank: rank)
        assert train() == []
