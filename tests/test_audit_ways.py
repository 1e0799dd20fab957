"""`onesum.audit` of functions as people write them: lists, matrices alone, layers, losses."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import scipy.special as sp
import torch
from torch.nn import functional

import onesum
from onesum.audit import PROFILES, _arrays, _backward, _losses, _speed
from onesum.audit._audit import Audit
from onesum.audit._check import name_mistakes
from onesum.audit._subject import Subject


def audit_of(function, kind, profile="default"):
    return Audit(Subject(function, kind, None, 10.0), PROFILES[profile])


def mistakes(function, kind="softmax"):
    audit = audit_of(function, kind)
    name_mistakes(audit)
    audit.subject.limited.close()
    return [e.mistake for e in audit.evidence]


def faults(audit):
    return {f.case: f.text for f in audit.findings if f.verdict == "fault"}


def chosen(log_p, target):
    return log_p[np.arange(len(target)), target]


# --- right ones -------------------------------------------------------------------------------


def of_a_matrix(x):
    e = np.exp(x - x.max(axis=1)[:, None])
    return e / e.sum(axis=1, keepdims=True)


def of_a_matrix_or_a_row(x):
    if x.ndim == 2:
        e = np.exp(x.T - x.T.max(axis=0))
        return (e / e.sum(axis=0)).T
    e = np.exp(x - x.max())
    return e / e.sum()


def log_of_torch(x, dim=-1):
    """Integers become float32: rounded, and nothing wraps around."""
    return x - torch.logsumexp(x, dim, keepdim=True)


def noisy(x, axis=-1, rng=np.random.default_rng(0)):  # noqa: B008
    return sp.softmax(x + 1e-3 * rng.normal(size=x.shape), axis)


def in_thousandths(x, axis=-1):
    """Inexact, and no sum in half precision: of 4095 classes each is rounded to 0."""
    return np.round(sp.softmax(x, axis), 3)


def loss_of_a_row(x, target):
    m = max(x)
    return m + math.log(sum(math.exp(v - m) for v in x)) - x[target]


def loss_of_a_vector(x, target):
    return sp.logsumexp(x) - x[target]


def loss_of_one_hot(x, y):
    return -(y * sp.log_softmax(x, axis=1)).sum(axis=1).mean()


def loss_with_an_axis(x, target, axis=-1):
    return -np.take_along_axis(sp.log_softmax(x, axis), np.expand_dims(target, axis), axis).squeeze(
        axis
    )


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (of_a_matrix, "softmax"),
        (of_a_matrix_or_a_row, "softmax"),
        (torch.nn.Softmax(dim=1), "softmax"),
        (noisy, "softmax"),
        (log_of_torch, "log_softmax"),
        (loss_of_a_row, "cross_entropy"),
        (loss_of_a_vector, "cross_entropy"),
        (loss_of_one_hot, "cross_entropy"),
        (loss_with_an_axis, "cross_entropy"),
    ],
)
def test_a_right_function_is_not_accused(function, kind):
    assert mistakes(function, kind) == []


def test_rounding_is_no_sum_in_half_precision():
    assert "half_precision_sum" not in mistakes(in_thousandths)


def dot(p, g):
    return p * (g - np.dot(p, g))


def of_lists(p, g):
    s = sum(a * b for a, b in zip(p, g, strict=True))
    return [a * (b - s) for a, b in zip(p, g, strict=True)]


@pytest.mark.parametrize("function", [dot, of_lists])
def test_a_derivative_of_one_row_is_given_rows(function):
    """The usual formula, which loses the small component, and no other mistake."""
    assert mistakes(function, "softmax_vjp") == ["unshifted"]


def test_what_takes_a_matrix_alone_is_told():
    audit = audit_of(of_a_matrix, "softmax", "framework")
    _arrays.axes(audit)
    assert not faults(audit)
    assert audit.findings[0].text.endswith("it does not take three dimensions")


def test_a_partial_has_the_name_of_its_function():
    subject = Subject(functools.partial(sp.softmax, axis=-1), "softmax", None, 10.0)
    assert subject.name == "softmax"


# --- wrong ones -------------------------------------------------------------------------------


def lists_without_a_shift(x):
    s = sum(math.exp(v) for v in x)
    return [math.exp(v) / s for v in x]


def logsumexp_of_a_list(x):
    return math.log(sum(math.exp(v) for v in x))


def log_of_a_list(x):
    p = sp.softmax(x).tolist()
    return [math.log(a) for a in p]


def shifted_by_the_first(x):
    e = np.exp(x - x[..., :1])
    return e / e.sum(axis=-1, keepdims=True)


def in_long_doubles(x, axis=-1):
    e = np.exp(np.asarray(x, np.longdouble))
    return (e / e.sum(axis=axis, keepdims=True)).astype(x.dtype if x.dtype.kind == "f" else float)


def over_everything(x, axis=-1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum()


def without_any_keepdims(x, axis=-1):
    e = np.exp(x - x.max(axis=axis))
    return e / e.sum(axis=axis)


def log_without_keepdims(x, axis=-1):
    return x - sp.logsumexp(x, axis=axis)


def through_bfloat16(x, dim=-1):
    return torch.softmax(x.bfloat16(), dim).to(x.dtype)


def cuts_the_callers_array(x, axis=-1):
    x[x < -100] = -100
    return sp.softmax(x, axis)


def writes_to_its_own_type(x, axis=-1):
    x = np.asarray(x, np.float32)
    x -= x.max(axis=axis, keepdims=True)
    return sp.softmax(x, axis)


def log_with_a_tiny_epsilon(x, axis=-1):
    return np.log(sp.softmax(x, axis) + 1e-300)


def losses_over_the_rows(x, target):
    return -chosen(sp.log_softmax(x, axis=0), target)


def mean_loss_over_the_rows(x, target):
    return -chosen(sp.log_softmax(x, axis=0), target).mean()


def torch_loss_over_the_rows(x, target):
    """Which is right for one row and its class."""
    return functional.nll_loss(torch.log_softmax(x, dim=0), target)


def mean_loss_by_one_maximum(x, target):
    z = x - x.max()
    return (np.log(np.exp(z).sum(axis=1)) - chosen(z, target)).mean()


def mean_loss_of_centred_columns(x, target):
    return -chosen(sp.log_softmax(x - x.mean(axis=0), axis=1), target).mean()


def one_hot_loss_of_p(x, y):
    return -(y * np.log(sp.softmax(x, axis=1))).sum(axis=1).mean()


def one_row_for_all(p, g):
    return (p * (g - (p * g).sum(axis=1, keepdims=True))).sum(axis=0)


def derivative_without_keepdims(p, g, axis=-1):
    return p * (g - (p * g).sum(axis=axis))


@pytest.mark.parametrize(
    ("mistake", "function", "kind"),
    [
        ("no_max_shift", lists_without_a_shift, "softmax"),
        ("no_max_shift", logsumexp_of_a_list, "logsumexp"),
        ("no_max_shift", shifted_by_the_first, "softmax"),
        ("no_max_shift", in_long_doubles, "softmax"),
        ("log_of_softmax", log_of_a_list, "log_softmax"),
        ("wrong_axis", over_everything, "softmax"),
        ("wrong_axis", without_any_keepdims, "softmax"),
        ("wrong_axis", log_without_keepdims, "log_softmax"),
        ("half_precision_sum", through_bfloat16, "softmax"),
        ("writes_input", cuts_the_callers_array, "softmax"),
        ("writes_input", writes_to_its_own_type, "softmax"),
        ("epsilon_added", log_with_a_tiny_epsilon, "log_softmax"),
        ("wrong_axis", losses_over_the_rows, "cross_entropy"),
        ("wrong_axis", mean_loss_over_the_rows, "cross_entropy"),
        ("wrong_axis", torch_loss_over_the_rows, "cross_entropy"),
        ("global_max", mean_loss_by_one_maximum, "cross_entropy"),
        ("depends_on_batch", mean_loss_of_centred_columns, "cross_entropy"),
        ("log_of_softmax", one_hot_loss_of_p, "cross_entropy"),
        ("sum_over_batch", one_row_for_all, "softmax_vjp"),
        ("wrong_axis", derivative_without_keepdims, "softmax_vjp"),
    ],
)
def test_a_mistake_is_named(mistake, function, kind):
    assert mistake in mistakes(function, kind)


# --- what a loss and a derivative are asked ---------------------------------------------------


def test_the_gradient_of_a_loss():
    audit = audit_of(functional.cross_entropy, "cross_entropy", "default")
    _losses.gradients(audit)
    assert [f.verdict for f in audit.findings] == ["ok", "fault"]


def test_axes_of_a_loss():
    audit = audit_of(loss_with_an_axis, "cross_entropy", "framework")
    _arrays.axes(audit)
    assert [(f.case, f.verdict) for f in audit.findings] == [
        ("axis 0 of (3, 4)", "ok"),
        ("axis 1 of (3, 4)", "ok"),
    ]

    def ignores_it(x, target, axis=-1):
        return loss_with_an_axis(x, target)

    audit = audit_of(ignores_it, "cross_entropy", "framework")
    _arrays.axes(audit)
    assert list(faults(audit)) == ["axis 0 of (3, 4)"]


def test_long_rows_of_a_loss():
    def short_of_memory(x, target):
        if x.size > 100_000:
            x = x.astype(np.float16)
        return onesum.cross_entropy(x, target)

    audit = audit_of(short_of_memory, "cross_entropy")
    _losses.long_rows(audit)
    assert len(faults(audit)) == 2


def test_times_of_a_loss(monkeypatch):
    monkeypatch.setattr(_speed, "SHAPES", ((1, 10),))
    monkeypatch.setattr(_speed.peers, "installed", lambda: {"NumPy": _speed.peers._numpy})
    audit = audit_of(loss_with_an_axis, "cross_entropy")
    _speed.speed(audit)
    (times,) = audit.speed.values()
    assert set(times) == {"", "NumPy"}


def test_integers_and_half_types_of_a_derivative():
    def plain(p, g, axis=-1):
        return p * (g - (p * g).sum(axis=axis, keepdims=True))

    def subtracts_first(p, g, axis=-1):
        return plain(p, g - g[..., :1])

    audit = audit_of(plain, "softmax_vjp")
    _backward.integers(audit)
    assert not faults(audit)
    _backward.half_types(audit)
    assert set(faults(audit)) == {"float16", "bfloat16"}
    audit = audit_of(subtracts_first, "softmax_vjp")
    _backward.integers(audit)
    assert {"g of int8", "g of bool"} <= set(faults(audit))


def test_what_is_told_ends_at_a_word():
    def talks(x):
        raise RuntimeError("antidisestablishmentarianism " * 9)

    audit = audit_of(lambda x: onesum.softmax(x), "softmax")
    audit.subject.function = talks
    assert audit.ask("calls", "", np.zeros((2, 3))) is None
    assert audit.findings[0].text.endswith("antidisestablishmentarianism ...")
