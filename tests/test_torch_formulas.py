"""The formulas that serve tensors outside of CPU memory, on tensors that are in it.

No machine of ours need have another device for that: what decides who computes is made to say that
a tensor is elsewhere, and NumPy has no view of any. Otherwise, of the formulas the tests would see
no more than what torch compiles of a few elements, and what vmap makes of them.
"""

from __future__ import annotations

from contextlib import contextmanager
from itertools import product

import numpy as np
import oracle
import oracle_losses
import pytest
import table
import torch
from budget import FORMULAS
from implementations import arrays_of, using
from measure import excess
from oracle import WIDE
from oracle_losses import TARGETS, targets
from rows import KINDS, MASKABLE, OPERATIONS, arguments, logits
from test_torch import FUNCTIONS, leaves, same, weighed

import onesum
from onesum._backends.torch import formulas, formulas_losses, host, kernels, linear

DTYPES = ["float16", "bfloat16", "float32", "float64"]
# Of one word of float32 no exponential may underflow: it is multiplied by numbers of 100.
NORMAL = [kind for kind in KINDS if kind != "spread 20"]
TEMPERATURES = [1.0, 1.5]


@contextmanager
def away():
    """As if no tensor were in memory that NumPy can see."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "is_on_host", lambda x: False)
        patch.setattr(host, "call", lambda *arguments: NotImplemented)
        patch.setattr(host, "memory", lambda *arguments: None)
        patch.setattr(linear, "_walks", lambda layer, call: False)
        yield


@pytest.fixture
def elsewhere():
    with away():
        yield


@pytest.fixture
def torch_api(elsewhere):
    with using("torch") as api:
        yield api


def near(got, reference, function, note):
    """Within so many times the bounds of the core: they are as good as the device's exp."""
    worst = excess(got, reference, function).max(initial=0)
    assert worst <= FORMULAS, f"{function} {got.dtype} {note}: {worst:.3g} times the budget"


def test_nothing_else_computes(elsewhere, monkeypatch):
    """The patch does what it is for."""
    seen = []
    formula = formulas.row_of
    for module in (formulas, formulas_losses):
        monkeypatch.setattr(module, "row_of", lambda *a: seen.append(0) or formula(*a))
    x = torch.zeros(2, 3)
    for call in (onesum.softmax, onesum.log_softmax, onesum.logsumexp, onesum.entropy):
        call(x)
    onesum.cross_entropy(x, torch.tensor([0, 1]))
    assert len(seen) == 5


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", OPERATIONS)
def test_functions(function, dtype, torch_api):
    rng = np.random.default_rng(3)
    for kind in KINDS:
        args = arguments(function, logits(kind, 7, 10, dtype))
        rows = rng.uniform(0.5, 3, 7)
        ways = [{}, {"temperature": 0.7}, {"temperature": rows}]
        if function in MASKABLE:
            ways.append({"where": rng.random((7, 10)) < 0.7, "temperature": 1.5})
            ways[-1]["where"][:, 0] = True
        for options in ways:
            wanted = getattr(oracle, function)(*args, **options, arithmetic=WIDE)
            got = getattr(torch_api, function)(*args, **options)
            assert got.dtype == args[0].dtype
            near(got, wanted, function, f"{kind} {list(options)}")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", TARGETS)
def test_cross_entropy(kind, dtype, torch_api):
    for rows in NORMAL:
        x = logits(rows, 7, 10, dtype)
        target, options = targets(kind, x)
        v = np.random.default_rng(5).normal(size=x.shape).astype(dtype)
        options["reduction"] = "none"
        for t in TEMPERATURES:
            given = {**options, "temperature": t}
            wanted = oracle_losses.cross_entropy(x, target, **given, arithmetic=WIDE)
            loss, grad = torch_api.cross_entropy_value_and_grad(x, target, **given)
            near(loss, wanted.loss, "cross_entropy", rows)
            near(grad, wanted.grad, "cross_entropy_grad", rows)
            wanted = oracle_losses.cross_entropy_hvp(x, target, v, **given, arithmetic=WIDE)
            got = torch_api.cross_entropy_hvp(x, target, v, **given)
            near(got, wanted, "cross_entropy_hvp", rows)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_other_losses(dtype, torch_api):
    for rows in NORMAL:
        x = logits(rows, 7, 10, dtype)
        for y in (logits(rows, 7, 10, dtype, seed=1), (x * 1.01).astype(dtype)):
            for t in TEMPERATURES:
                wanted = oracle_losses.entropy(x, temperature=t, arithmetic=WIDE)
                near(torch_api.entropy(x, temperature=t), wanted, "entropy", rows)
                options = {"temperature": t, "reduction": "none"}
                wanted = oracle_losses.kl_divergence(x, y, **options)
                value, (dx, dy) = onesum.kl_divergence_value_and_grad(
                    torch.tensor(x), torch.tensor(y), **options
                )
                near(value.numpy(), wanted.value, "kl_divergence", rows)
                near(dx.numpy(), wanted.by_x, "kl_divergence_grad", rows)
                near(dy.numpy(), wanted.by_y, "kl_divergence_grad", rows)


@pytest.mark.parametrize("function", OPERATIONS)
def test_special_rows(function, torch_api, monkeypatch):
    monkeypatch.setattr(table, "check", near)
    for row in table.SPECIALS:
        row.check(torch_api, function)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_signs_and_diagonals(dtype, torch_api):
    rng = np.random.default_rng(6)
    for rows, t in product(NORMAL, TEMPERATURES):
        x = logits(rows, 7, 10, dtype)
        b = rng.choice([-2.0, -0.5, 0.0, 0.25, 1.0, 3.0], x.shape).astype(dtype)
        wanted, sign = oracle.signed_logsumexp(x, b, temperature=t)
        got = torch_api.logsumexp(x, b=b, temperature=t, return_sign=True)
        near(got[0], wanted, "signed_logsumexp", rows)
        assert np.array_equal(got[1], sign)
        for name in ("softmax", "log_softmax"):
            p = getattr(oracle, name)(x).value.astype(dtype)
            wanted = getattr(oracle, f"{name}_jacobian")(p, temperature=t)
            wanted = oracle.Reference(*(np.diagonal(a, axis1=-2, axis2=-1) for a in wanted))
            jacobian = getattr(onesum, f"{name}_jacobian")(torch.tensor(p), temperature=t)
            near(jacobian.diagonal().numpy(), wanted, "jacobian", f"{name} of {rows}")


def test_a_huge_factor_beside_a_tiny_exponential(torch_api):
    """Of x / T what its rounding takes is 30 ulp of such a term, which is half of the sum."""
    x = np.stack([np.zeros(40), -np.arange(60, 100)], 1).astype("float32")
    b = np.exp(x.astype("float64") / -1.5).astype("float32")
    wanted, _ = oracle.signed_logsumexp(x, b, temperature=1.5)
    got = torch_api.logsumexp(x, b=b, temperature=1.5).astype("float64")
    np.testing.assert_allclose(got, wanted.value.astype("float64"), rtol=FORMULAS * 2.0**-24)


@pytest.mark.parametrize("function", OPERATIONS)
@pytest.mark.parametrize("n", [0, 1])
def test_rows_of_no_class_and_of_one(function, n):
    p = torch.zeros(3, n, dtype=torch.float64)
    args = (p,) if function in ("softmax", "log_softmax", "logsumexp") else (p, torch.ones(3, n))
    args = (p, torch.ones(3)) if function == "logsumexp_vjp" else args
    wanted = getattr(onesum, function)(*args)
    with away():
        got = getattr(onesum, function)(*args)
        assert onesum.logsumexp(p, b=torch.ones(n)).tolist() == [-INF if n == 0 else 0.0] * 3
        assert onesum.softmax_jacobian(p).diagonal().shape == (3, n)
    assert torch.equal(got, wanted)


INF, NAN = torch.inf, torch.nan
SPECIAL = torch.tensor(
    [[-INF, 0.0, 1.0, 2.0], [-INF, -INF, -INF, -INF], [INF, 0.0, 1.0, -2.0], [NAN, 0.0, 1.0, 2.0],
     [500.0, 0.0, -500.0, 1.0], [INF, INF, -INF, 0.0], [1.0, 2.0, 3.0, 4.0]],
    dtype=torch.float64,
)  # fmt: skip
BESIDE = torch.tensor(np.random.default_rng(8).normal(size=SPECIAL.shape))
CLASS, PARTS = torch.tensor([1, 0, 0, 2, 3, 0, -1]), torch.softmax(BESIDE, -1)
PARTS[:, 0] = 0.0


def of_target(function, *more, **given):
    return lambda x, **o: getattr(onesum, function)(x, *more, reduction="none", **given, **o)


OF_SPECIAL = {
    "logsumexp, b": lambda x, **o: onesum.logsumexp(x, b=BESIDE, return_sign=True, **o),
    "entropy": lambda x, **o: onesum.entropy(x, **o),
    "kl, x": of_target("kl_divergence_value_and_grad", BESIDE),
    "kl, y": lambda x, **o: of_target("kl_divergence_value_and_grad", x)(BESIDE, **o),
}
for _z in (0.0, 0.1):
    for _of, _target, _index in (("a class", CLASS, -1), ("masses", PARTS, None)):
        _given = {"ignore_index": _index, "z_loss": _z, "label_smoothing": _z}
        OF_SPECIAL[f"loss of {_of}, {_z}"] = of_target(
            "cross_entropy_value_and_grad", _target, **_given
        )
        OF_SPECIAL[f"hvp of {_of}, {_z}"] = of_target(
            "cross_entropy_hvp", _target, BESIDE, **_given
        )


@pytest.mark.parametrize("name", OF_SPECIAL)
def test_special_rows_of_losses(name):
    """Rows with infinities, NaN and nothing, and a mask beside them: as the kernels answer."""
    inside = torch.ones(SPECIAL.shape, dtype=torch.bool)
    inside[[0, 3, 5], 0] = False
    inside[4] = False
    for options in [{}, {"temperature": 1.5}, {"where": inside}]:
        wanted = arrays_of(OF_SPECIAL[name](SPECIAL, **options))
        with away():
            got = arrays_of(OF_SPECIAL[name](SPECIAL, **options))
        for a, b in zip(got, wanted, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-15, equal_nan=True)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives(name):
    """Of first and second order, backward and forward: those of the kernels."""
    function, given = FUNCTIONS[name]

    def total(*a):
        return weighed(function(*a))

    def answers():
        x = leaves(given)
        value = total(*x)
        first = torch.autograd.grad(value, x, create_graph=True)
        second = torch.autograd.grad(sum((g * torch.cos(g)).sum() for g in first), x)
        _, change = torch.func.jvp(total, given, tuple(torch.sin(a) for a in given))
        return value, *first, *second, change

    wanted = answers()
    with away():
        same(answers(), wanted)
