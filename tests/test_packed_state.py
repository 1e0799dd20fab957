"""States of chunks of classes that are sent as numbers, and gradients with what comes after."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import oracle_losses
import pytest
import torch
from implementations import _LIBRARIES, ON_LIBRARIES, on_numpy, using
from measure import check, same_bits
from oracle import WIDE, Reference

import onesum
from onesum._functions.normalizer import Normalizer

RNG = np.random.default_rng(0)
X = RNG.normal(0, 3, (6, 9))
X[1, 7] = 40.0
PARTS = [slice(0, 4), slice(4, 4), slice(4, 9)]
CLASSES = np.array([0, 7, -1, 8, 3, 7])
WHERE = RNG.random((6, 9)) < 0.7
WHERE[np.arange(6), CLASSES] = True
OPTIONS: dict[str, list[Any]] = {
    "target": [CLASSES, RNG.dirichlet(np.ones(9), 6)],
    "label_smoothing": [0.0, 0.125],
    "weight": [None, RNG.uniform(0, 2, 9)],
    "where": [None, WHERE],
    "softcap": [None, 10.0],
    "z_loss": [0.0, 0.25],
}
G = np.array([1.0, -2.0, 3.0, 0.0, 0.5, -1.0])


def combinations(name: str) -> list[dict[str, Any]]:
    """Every third, of the slow arrays every eleventh: any values of two options meet."""
    every = [dict(zip(OPTIONS, values, strict=True)) for values in product(*OPTIONS.values())]
    return every[:: 11 if name == "strict" else 3]


def sharded(convert: Any, x: Any, options: dict[str, Any]) -> tuple[Any, list[dict[str, Any]]]:
    """The state of all classes, by way of numbers, and the arguments of each part."""
    options = dict(options)
    indices = options["target"] is CLASSES
    ignore = -1 if indices else None
    own = []
    for part in PARTS:
        target = options["target"] if indices else options["target"][:, part]
        weight = None if options["weight"] is None else options["weight"][part]
        where = None if options["where"] is None else options["where"][:, part]
        arrays = {"x": x[:, part], "target": target, "weight": weight, "where": where}
        arrays = {
            k: None if a is None else convert(np.ascontiguousarray(a)) for k, a in arrays.items()
        }
        own.append({**arrays, "start": part.start})
    others = {name: options[name] for name in ("label_smoothing", "softcap", "z_loss")}
    states = [
        onesum.CrossEntropyState.of(**arrays, ignore_index=ignore, **others) for arrays in own
    ]
    sizes = [part.stop - part.start for part in PARTS]
    packed = [state.packed() for state in states]
    here = states[1].unpacked(packed[0], sizes[0])
    for numbers, size in zip(packed[1:], sizes[1:], strict=True):
        here |= states[1].unpacked(numbers, size)
    directly = states[0] | states[1] | states[2]
    assert np.asarray(here.packed()).tobytes() == np.asarray(directly.packed()).tobytes()
    return here, own


@pytest.mark.parametrize("name", [on_numpy()[0], on_numpy()[-1], *ON_LIBRARIES])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_states_that_were_sent(name, dtype):
    library = _LIBRARIES.get(name, {"convert": lambda a: a, "back": lambda a: a})
    convert, back = library["convert"], library["back"]
    x = X.astype(dtype)
    with using(name if name in on_numpy() else on_numpy()[-1]), np.errstate(all="ignore"):
        for options in combinations(name):
            note = str({k: np.shape(v) or v for k, v in options.items()})
            state, own = sharded(convert, x, options)
            ignore = -1 if options["target"] is CLASSES else None
            wanted = oracle_losses.cross_entropy(x, ignore_index=ignore, **options, arithmetic=WIDE)
            losses = np.asarray(back(state.loss("none")))
            check(losses, wanted.loss, "cross_entropy", note)
            grads = [
                state.gradient(**arrays, reduction="none", g=convert(G.astype(dtype)))
                for arrays in own
            ]
            grad = np.concatenate([np.asarray(back(a)) for a in grads], axis=1)
            by = G[:, None].astype(np.longdouble)
            times = Reference(wanted.grad.value * by, wanted.grad.scale * np.abs(by))
            check(grad, times, "cross_entropy_grad", note)
            mean = [np.asarray(back(state.gradient(**a, g=3.0))) for a in own]
            sums = [
                np.asarray(back(state.gradient(**a, reduction="sum", g=3.0 * state.factor("mean"))))
                for a in own
            ]
            assert all(same_bits(a, b) for a, b in zip(mean, sums, strict=True)), note


def test_numbers_of_a_normalizer():
    """m, r and the count are there again; the pivot is not sent."""
    every = Normalizer.of(X, where=WHERE)
    sent = Normalizer.of(X[:, :0]).unpacked(every.packed(), 9)
    assert every.packed().shape == (6, 4)
    for name in ("m", "r", "count", "logsumexp"):
        assert same_bits(getattr(sent, name), getattr(every, name))
    assert sent.classes == 9
    with pytest.raises(ValueError, match=r"^pivot: "):
        sent.pivot  # noqa: B018


def test_one_rounding_of_a_narrow_gradient():
    """g is no factor of what was rounded already."""
    x = torch.tensor([[3.0, 0.0, 1.0]]).bfloat16()
    state = onesum.CrossEntropyState.of(x, torch.tensor([1]))
    exact = onesum.CrossEntropyState.of(x.double(), torch.tensor([1]))
    grad = state.gradient(x, torch.tensor([1]), g=torch.tensor(1.1))
    factor = float(torch.tensor(1.1))
    wanted = exact.gradient(x.double(), torch.tensor([1]), g=factor).bfloat16()
    assert torch.equal(grad, wanted)


def test_what_g_cannot_be():
    state = onesum.CrossEntropyState.of(X, np.arange(6))
    with pytest.raises(ValueError, match=r"^g: expected shape \(6,\), one element per row"):
        state.gradient(X, np.arange(6), g=np.ones(5))
    with pytest.raises(TypeError, match=r"^g: expected a number, got 'x'"):
        state.gradient(X, np.arange(6), g="x")
