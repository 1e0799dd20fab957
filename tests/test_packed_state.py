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
from onesum._functions.packed import numbers_of, state_of

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


def combinations() -> list[dict[str, Any]]:
    """Every seventh: any values of two options meet."""
    every = [dict(zip(OPTIONS, values, strict=True)) for values in product(*OPTIONS.values())]
    return every[::7]


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
    packed = [numbers_of(state) for state in states]
    here = state_of(packed[0], states[1], sizes[0])
    for numbers, size in zip(packed[1:], sizes[1:], strict=True):
        here |= state_of(numbers, states[1], size)
    directly = states[0] | states[1] | states[2]
    ours, theirs = (np.asarray(numbers_of(state)) for state in (here, directly))
    assert ours.tobytes() == theirs.tobytes()
    assert here.normalizer.classes == sum(sizes)
    return here, own


@pytest.mark.parametrize("name", [on_numpy()[0], on_numpy()[-1], *ON_LIBRARIES])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_states_that_were_sent(name, dtype):
    library = _LIBRARIES.get(name, {"convert": lambda a: a, "back": lambda a: a})
    convert, back = library["convert"], library["back"]
    x = X.astype(dtype)
    with using(name if name in on_numpy() else on_numpy()[-1]), np.errstate(all="ignore"):
        for options in combinations():
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


def test_numbers_of_another_width():
    x, y = X[:, :0], CLASSES
    state = onesum.CrossEntropyState.of(x, y, ignore_index=-1, label_smoothing=0.5)
    assert numbers_of(state).shape == (6, 13)
    for shape in ((6, 9), (5, 13), (13,)):
        with pytest.raises(ValueError, match=r"^numbers: expected shape \(6, 13\), got "):
            state_of(np.zeros(shape), state, 0)


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
    for g in ("x", 2j, np.complex128(2j), np.array(["a"] * 6), None, [1j] * 6):
        with pytest.raises(TypeError, match=r"^g: expected float16, .*, got dtype "):
            state.gradient(X, np.arange(6), g=g)
    with pytest.raises(TypeError, match=r"^g: expected an array of numpy, as x is, got torch"):
        state.gradient(X, np.arange(6), g=torch.ones(6))
