"""Dask arrays whose classes come in several chunks, within the budgets of exact arithmetic."""

from __future__ import annotations

from typing import Any

import dask
import dask.array as da
import numpy as np
import oracle
import oracle_losses
import pytest
from budget import DASK_CHUNKS
from hypothesis import given, settings
from hypothesis import strategies as st
from implementations import arrays_of, on_numpy, using
from measure import check
from oracle import EXACT, WIDE
from oracle_losses import TARGETS, targets
from rows import KINDS, OPERATIONS, arguments, logits

import onesum

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
K = 12
FLOATS = ["float16", "float32", "float64"]


def pieces(rng: np.random.Generator, n: int) -> tuple[int, ...]:
    """Chunk sizes that add up to n: some of 1, one of 0, and more of them than one task merges."""
    ends = np.unique(np.append(rng.integers(1, n, min(n, 14)), n))
    sizes = np.diff([0, *ends]).tolist()
    return (*sizes[:1], 0, *sizes[1:])


def cut(a: Any, k: int, n: int, seed: int = 0) -> Any:
    """In two chunks of rows, and of such classes; arguments of another size as they are."""
    if not isinstance(a, np.ndarray):
        return a
    of_classes = pieces(np.random.default_rng(seed), n)
    sizes = {n: of_classes, k: (k - k // 2, k // 2)}
    return da.from_array(a, chunks=tuple(sizes.get(m, m) for m in a.shape))


def computed(answer: Any) -> list[Any]:
    return list(dask.compute(*arrays_of(answer), scheduler="sync"))


@pytest.mark.parametrize("function", OPERATIONS)
def test_every_kind_of_row(function):
    for dtype in FLOATS:
        for kind in KINDS if dtype == "float64" else ("spread 20", "gaps"):
            args = arguments(function, logits(kind, K, 40, dtype))
            wanted = getattr(oracle, function)(*args, arithmetic=WIDE)
            lazy = getattr(onesum, function)(*(cut(a, K, 40) for a in args))
            assert lazy.dtype == dtype
            check(computed(lazy)[0], wanted, function, f"{kind}, {dtype}")


@pytest.mark.parametrize("kind", TARGETS)
def test_cross_entropy(kind):
    for dtype in FLOATS[1:]:
        for rows in ("spread 20", "gaps") if dtype == "float64" else ("gaps",):
            x = logits(rows, K, 40, dtype)
            target, options = targets(kind, x)
            v = np.random.default_rng(9).normal(size=x.shape).astype(dtype)
            lazy = [cut(a, K, 40) for a in (x, target, v)]
            given = {name: cut(a, K, 40) for name, a in options.items()}
            note = f"{kind}, {rows}, {dtype}"
            wanted = oracle_losses.cross_entropy(x, target, arithmetic=WIDE, **options)
            answer = onesum.cross_entropy_value_and_grad(*lazy[:2], reduction="none", **given)
            hv = onesum.cross_entropy_hvp(*lazy, reduction="none", **given)
            loss, grad, hv = computed((*answer, hv))
            check(loss, wanted.loss, "cross_entropy", note)
            check(grad, wanted.grad, "cross_entropy_grad", note)
            wanted = oracle_losses.cross_entropy_hvp(x, target, v, arithmetic=WIDE, **options)
            check(hv, wanted, "cross_entropy_hvp", note)


def test_information():
    for dtype in FLOATS:
        for rows in ("spread 20", "gaps"):
            x = logits(rows, K, 40, dtype)
            lazy, note = cut(x, K, 40), f"{rows}, {dtype}"
            wanted = oracle_losses.entropy(x, arithmetic=WIDE)
            check(computed(onesum.entropy(lazy))[0], wanted, "entropy", note)
            index = np.random.default_rng(1).integers(0, 40, K)
            wanted = oracle_losses.selective_log_softmax(x, index, arithmetic=WIDE)
            got = onesum.selective_log_softmax(lazy, cut(index, K, 40))
            check(computed(got)[0], wanted, "selective_log_softmax", note)


def test_kl_divergence():
    """Of rows that are near, far, and at other levels."""
    for dtype in FLOATS:
        x = logits("spread 3", 3, 12, dtype)
        noise = np.random.default_rng(2).normal(size=x.shape)
        for size in (1e-9, 1e-3, 1.0, 30.0):
            y = (x + size * noise + 100).astype(dtype)
            wanted = oracle_losses.kl_divergence(x, y, arithmetic=EXACT)
            lazy = cut(x, 3, 12), cut(y, 3, 12)
            answer = onesum.kl_divergence_value_and_grad(*lazy, reduction="none")
            note = f"{size}, {dtype}"
            for name, got, exact in zip(
                ("kl_divergence", "kl_divergence_grad", "kl_divergence_grad"),
                computed(answer),
                wanted,
                strict=True,
            ):
                check(got, exact, name, note)


# --- what is special, and every option, beside all classes at once -------------------------------

INDEX = np.array([0, 1, -1, 1, 0, 1])
P = (0.0, 1e-300, 0.25, 0.5, 1.0)
VALUES = (-np.inf, -800.0, -1.0, 0.0, 0.0, 1.0, 2.0, 40.0, np.inf, np.nan)
CALLS = {
    "softmax": lambda x, p, v, o: onesum.softmax(x, **o),
    "log_softmax": lambda x, p, v, o: onesum.log_softmax(x, **o),
    "logsumexp": lambda x, p, v, o: onesum.logsumexp(x, **o),
    "signed": lambda x, p, v, o: onesum.logsumexp(x, b=v, return_sign=True, **o),
    "softmax_vjp": lambda x, p, v, o: onesum.softmax_vjp(p, v, temperature=o["temperature"]),
    "log_softmax_vjp": lambda x, p, v, o: onesum.log_softmax_vjp(-abs(x), v),
    "log_softmax_jvp": lambda x, p, v, o: onesum.log_softmax_jvp(-abs(x), v),
    "diagonals": lambda x, p, v, o: (
        onesum.softmax_jacobian(p).diagonal(),
        onesum.log_softmax_jacobian(-abs(x)).diagonal(),
    ),
    "logsumexp_vjp": lambda x, p, v, o: onesum.logsumexp_vjp(x, v[:, 0], **o),
    "logsumexp_jvp": lambda x, p, v, o: onesum.logsumexp_jvp(x, v, **o),
    "entropy": lambda x, p, v, o: onesum.entropy(x, **o),
    "kl_divergence": lambda x, p, v, o: onesum.kl_divergence_value_and_grad(
        x, v, reduction="none", **o
    ),
    "cross_entropy": lambda x, p, v, o: onesum.cross_entropy_value_and_grad(
        x, p, label_smoothing=0.1, z_loss=0.1, reduction="none", **o
    ),
    "cross_entropy, softcap": lambda x, p, v, o: onesum.cross_entropy_value_and_grad(
        x, p, softcap=3.0, reduction="none", **o
    ),
    "cross_entropy of a class": lambda x, p, v, o: onesum.cross_entropy_value_and_grad(
        x,
        INDEX if isinstance(x, np.ndarray) else da.from_array(INDEX, chunks=3),
        ignore_index=-1,
        z_loss=0.1,
        weight=np.arange(1.0, 1.0 + x.shape[1]),
        reduction="none",
        **o,
    ),
    "hvp": lambda x, p, v, o: onesum.cross_entropy_hvp(x, p, v, reduction="none", **o),
}


@pytest.mark.parametrize("name", CALLS)
@settings(max_examples=6, deadline=None, derandomize=True)
@given(data=st.data(), backend=st.sampled_from(sorted({on_numpy()[0], on_numpy()[-1]})))
def test_any_values_in_any_chunks(name, data, backend):
    n, seed = data.draw(st.integers(2, 9)), data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    x, p = rng.choice(VALUES, (6, n)), rng.choice(P, (6, n))
    v = rng.normal(size=(6, n))
    options = {"where": rng.random((6, n)) < 0.8, "temperature": rng.choice([0.5, 1.0, 8.0], 6)}
    with using(backend):
        with np.errstate(all="ignore"):
            wanted = arrays_of(CALLS[name](x, p, v, options))
        lazy = [cut(a, 6, n, seed) for a in (x, p, v)]
        lazy_options = {key: cut(a, 6, n, seed + 1) for key, a in options.items()}
        got = computed(CALLS[name](*lazy, lazy_options))
    for a, b in zip(got, wanted, strict=True):
        rows = np.abs(np.where(np.isfinite(b), b, 0)).reshape(6, -1).max(axis=1)
        scale = np.maximum(rows, 1.0).reshape((6,) + (1,) * (b.ndim - 1))
        with np.errstate(invalid="ignore"):
            near = np.abs(a - b) <= DASK_CHUNKS * scale
        wrong = ~((a == b) | (np.isnan(a) & np.isnan(b)) | near)
        assert not wrong.any(), (name, x[wrong.reshape(6, -1).any(axis=1)], a, b)
