"""What the cross entropy of a linear layer refuses, and what is said of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from test_linear import INDICES, PROBABILITIES, B, D, H, N, W

import onesum

BAD = {
    "h without axes": ({"h": 1.0}, ValueError, ("h:", "()")),
    "h complex": ({"h": H * 1j}, TypeError, ("h:", "complex128")),
    "h masked": (
        {"h": np.ma.masked_equal(H, H[1, 0, 3])},
        ValueError,
        ("h:", "no masked elements", "(1, 0, 3)"),
    ),
    "features": ({"weight_matrix": W[:, 1:]}, ValueError, ("weight_matrix:", "(7, 4)", "5")),
    "turned": ({"weight_matrix": W.T}, ValueError, ("weight_matrix:", "(5, 7)", "(classes, 5)")),
    "a vector": ({"weight_matrix": W[0]}, ValueError, ("weight_matrix:", "(5,)")),
    "no classes": ({"weight_matrix": W[:0]}, ValueError, ("at least one class", "(2, 3, 0)")),
    "masked matrix": (
        {"weight_matrix": np.ma.masked_equal(W, W[5, 1])},
        ValueError,
        ("weight_matrix:", "no masked elements", "(5, 1)"),
    ),
    "masked bias": (
        {"bias": np.ma.masked_equal(B, B[2])},
        ValueError,
        ("bias:", "no masked elements", "position 2"),
    ),
    "words": ({"weight_matrix": "abc"}, TypeError, ("weight_matrix:",)),
    "another library": (
        {"weight_matrix": torch.ones(N, D)},
        TypeError,
        ("weight_matrix:", "numpy", "torch"),
    ),
    "bias": ({"bias": np.ones(3)}, ValueError, ("bias:", "(3,)", "(7,)")),
    "a column": ({"bias": B[:, None]}, ValueError, ("bias:", "(7, 1)", "(7,)")),
    "class 7": ({"target": np.full((2, 3), 7)}, IndexError, ("target:", "from 0 to 6", "got 7")),
    "target flat": ({"target": np.zeros(6, int)}, ValueError, ("target:", "(6,)", "(2, 3)")),
    "probabilities": (
        {"target": PROBABILITIES[..., 1:]},
        ValueError,
        ("target:", "(2, 3, 6)", "(2, 3, 7)"),
    ),
    "weight": ({"weight": np.ones(D)}, ValueError, ("weight:", "(5,)", "(7,)")),
    "sample_weight": ({"sample_weight": -np.ones((2, 3))}, ValueError, ("sample_weight:", "-1")),
    "smoothing": ({"label_smoothing": 1.5}, ValueError, ("label_smoothing:", "1.5")),
    "z_loss": ({"z_loss": -1}, ValueError, ("z_loss:", "-1")),
    "temperature": ({"temperature": 0}, ValueError, ("temperature:", "0")),
    "temperature per class": ({"temperature": np.ones(N)}, ValueError, ("temperature:", "(7,)")),
    "where": ({"where": np.ones(D, bool)}, ValueError, ("where:", "(5,)", "(2, 3, 7)")),
    "where of numbers": ({"where": np.ones(N)}, TypeError, ("where:", "float64")),
    "reduction": ({"reduction": "max"}, ValueError, ("reduction:", "max")),
    "dtype": ({"dtype": "int32"}, TypeError, ("dtype:", "int32")),
    "chunk 0": ({"chunk": (0, 5)}, ValueError, ("chunk:", "(0, 5)")),
    "chunk of one": ({"chunk": (5,)}, TypeError, ("chunk:", "(5,)")),
    "chunk a number": ({"chunk": 5}, TypeError, ("chunk:", "5")),
    "chunk of floats": ({"chunk": (2.0, 5.0)}, TypeError, ("chunk:", "(2.0, 5.0)")),
}


@pytest.mark.parametrize(("wrong", "exception", "words"), BAD.values(), ids=BAD)
def test_bad_input(monkeypatch, wrong, exception, words):
    """Its own exception, and before anything is computed."""

    def computed(*args, **kwargs):
        raise AssertionError("a product was computed")

    monkeypatch.setattr("onesum._functions.linear.Products", computed)
    given: dict[str, Any] = {"h": H, "weight_matrix": W, "target": np.abs(INDICES) % N, **wrong}
    for call in (onesum.linear_cross_entropy, onesum.linear_cross_entropy_value_and_grad):
        with pytest.raises(exception) as caught:
            call(**given)
        for word in words:
            assert word in str(caught.value)
