"""Tensors in every layout, and in every mode of torch but that of derivatives: test_torch.py."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional as theirs
from torch.utils._python_dispatch import TorchDispatchMode

import onesum
from onesum._backends.torch.operators import SCHEMAS

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
RANDOM = np.random.default_rng(3)
NUMBERS = RANDOM.normal(0, 3, (6, 7))
TARGET = torch.tensor(RANDOM.integers(0, 7, 6))
FORWARD = ("softmax", "log_softmax", "logsumexp")

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


# --- layouts ---------------------------------------------------------------------------------

LAYOUTS = {
    "transposed": lambda x: x.T.contiguous().T,
    "every other": lambda x: torch.stack([x, -x], -1)[..., 0],
    "of a wider one": lambda x: torch.cat([x, x], 1)[:, :7],
    "negative bit": lambda x: torch._neg_view(-x),
    "expanded": lambda x: x[:1].expand(6, 7),
    "a parameter": torch.nn.Parameter,
    "required": lambda x: x.requires_grad_(),
}


@every_dtype
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, dtype):
    x = LAYOUTS[layout](torch.tensor(NUMBERS).to(dtype))
    assert layout != "negative bit" or x.is_neg()
    plain = x.detach().clone(memory_format=torch.contiguous_format)
    for axis in (0, 1):
        for function in FORWARD:
            call = getattr(onesum, function)
            assert torch.equal(call(x, axis), call(plain, axis))
            assert call(x, axis).requires_grad is x.requires_grad
        g = torch.ones_like(plain)
        got = onesum.softmax_vjp(onesum.softmax(x, axis), g[:1].expand(6, 7), axis)
        assert torch.equal(got, onesum.softmax_vjp(onesum.softmax(plain, axis), g, axis))


def test_negative_bit():
    """A tensor may say that its elements are those in memory with the other sign."""
    x = torch.complex(torch.tensor(NUMBERS), torch.tensor(NUMBERS)).conj().imag
    assert x.is_neg()
    wanted = onesum.softmax(torch.tensor(-NUMBERS))
    assert torch.equal(onesum.softmax(x), wanted)
    assert torch.equal(onesum.softmax(torch.tensor(-NUMBERS), where=x < 99), wanted)
    assert torch.equal(onesum.softmax_vjp(wanted, x), onesum.softmax_vjp(wanted, x.resolve_neg()))
    loss = onesum.cross_entropy(x, TARGET, softcap=2.0)
    assert torch.equal(loss, onesum.cross_entropy(x.resolve_neg(), TARGET, softcap=2.0))
    x = x.resolve_neg()  # what goes with it has its own way to NumPy, by float64
    for weights in ({"weight": torch.rand(7)}, {"sample_weight": torch.rand(6)}):
        for dtype in (torch.float32, torch.float64):
            given = {name: torch._neg_view(-w.to(dtype)) for name, w in weights.items()}
            assert all(w.is_neg() for w in given.values())
            loss = onesum.cross_entropy(x, TARGET, **given)
            assert torch.equal(loss, onesum.cross_entropy(x, TARGET, **weights))


@every_dtype
def test_few_dimensions_and_elements(dtype):
    assert onesum.softmax(torch.tensor(3.0, dtype=dtype)) == 1
    assert onesum.logsumexp(torch.zeros(0, dtype=dtype)) == -torch.inf
    assert onesum.softmax(torch.zeros(0, 3, dtype=dtype)).shape == (0, 3)
    assert onesum.softmax(torch.zeros(2, 0, dtype=dtype)).shape == (2, 0)
    x = torch.zeros(2, dtype=dtype, requires_grad=True)
    onesum.cross_entropy(x, torch.tensor(1)).backward()
    assert x.grad.tolist() == [0.5, -0.5]


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int16, torch.int64])
def test_integers(dtype):
    """They count as float64, as everywhere in the package."""
    x = torch.tensor([[0, 1, 1], [1, 0, 0]]).to(dtype)
    for function in FORWARD:
        call = getattr(onesum, function)
        assert torch.equal(call(x), call(x.double()))
    y = torch.tensor([2, 0])
    assert torch.equal(onesum.cross_entropy(x, y), onesum.cross_entropy(x.double(), y))


# --- modes -----------------------------------------------------------------------------------


def test_no_gradient_no_graph():
    x = torch.tensor(NUMBERS, requires_grad=True)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert onesum.softmax(x).grad_fn is None
            assert onesum.cross_entropy(x, TARGET).grad_fn is None
            assert onesum.linear_cross_entropy(x, x, TARGET.clamp(max=5)).grad_fn is None
    assert onesum.softmax(x.detach()).grad_fn is None
    assert onesum.softmax(x).requires_grad


@every_dtype
def test_autocast(dtype):
    """The types are those of torch's own functions, which on a CPU are not those of CUDA."""
    x = torch.tensor(NUMBERS).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for function in FORWARD:
            assert getattr(onesum, function)(x).dtype is getattr(torch, function)(x, -1).dtype
        y = x.clone().requires_grad_()
        loss = onesum.cross_entropy(y, TARGET)
        assert loss.dtype is theirs.cross_entropy(x, TARGET).dtype
        loss.backward()
        assert y.grad.dtype is dtype
        wanted = theirs.kl_div(x, x, log_target=True, reduction="sum").dtype
        assert onesum.kl_divergence(x, x).dtype is wanted
        assert onesum.cross_entropy(x, TARGET, dtype=dtype).dtype is dtype


class Named(torch.Tensor):
    """A subclass without ways of its own."""


def test_subclasses():
    x = torch.tensor(NUMBERS)
    got = onesum.softmax(x.as_subclass(Named))
    assert type(got) is Named
    torch.testing.assert_close(got.as_subclass(torch.Tensor), onesum.softmax(x))


def test_what_watches_torch_sees_the_operators():
    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            seen.append(str(function))
            return function(*args, **(kwargs or {}))

    x, seen = torch.zeros(100, 100), []
    with Watch():
        p = onesum.softmax(x)
    assert torch.equal(p, onesum.softmax(x))
    assert "onesum.softmax.default" in seen


def test_meta():
    x = torch.zeros(3, 5, device="meta", requires_grad=True)
    p = onesum.softmax(x)
    assert (p.device.type, p.shape, p.requires_grad) == ("meta", (3, 5), True)
    assert onesum.logsumexp(x, 0).shape == (5,)
    loss = onesum.cross_entropy(x, torch.zeros(3, dtype=torch.int64, device="meta"))
    assert loss.shape == ()


# --- operators -------------------------------------------------------------------------------

LOGITS = (None, None, 1.3, 1)  # where, temperatures, temperature, axis
PRODUCT = (None, 0.7, 1)


def arguments_of(operator, dtype):
    x, g = (torch.tensor(RANDOM.normal(size=(6, 7))).to(dtype) for _ in range(2))
    p, logp, by = torch.softmax(x, 1), torch.log_softmax(x, 1), torch.rand(6).double()
    target = (TARGET, None, torch.rand(7).double(), None, *LOGITS, 0.1, 0.01, 2.0, dtype)
    return {
        "softmax_vjp": (p, g, *PRODUCT, dtype),
        "log_softmax_vjp": (logp, g, *PRODUCT, dtype),
        "log_softmax_jvp": (logp, g, *PRODUCT, dtype),
        "logsumexp_vjp": (x, g[:, :1], *LOGITS, dtype),
        "softmax_diagonal": (p, *PRODUCT, dtype),
        "log_softmax_diagonal": (logp, *PRODUCT, dtype),
        "cross_entropy": (x, *target),
        "cross_entropy_gradient": (x, by, *target),
        "cross_entropy_hvp": (x, g, by, *target),
        "kl_divergence_gradient": (x, g, by, *LOGITS, dtype),
        "total": (by,),
        **dict.fromkeys(("signed_logsumexp", "logsumexp_jvp"), (x, g, *LOGITS, dtype)),
        "kl_divergence": (x, g, *LOGITS, dtype),
    }.get(operator, (x, *LOGITS, dtype))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("name", SCHEMAS)
def test_operators(name, dtype):
    """torch's own check: schema, strides and types of what stands for a tensor, tracing."""
    operator, given = getattr(torch.ops.onesum, name).default, arguments_of(name, dtype)
    torch.library.opcheck(operator, given)
    turned = tuple(
        a.T.contiguous().T if isinstance(a, torch.Tensor) and a.ndim == 2 else a for a in given
    )
    torch.library.opcheck(operator, turned, test_utils=("test_schema", "test_faketensor"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux for the memory")
def test_no_copies():
    """What is read and written is the memory of the tensors, in every type and layout."""
    program = """
from pathlib import Path
import torch, onesum

def held(line):
    text = Path("/proc/self/status").read_text()
    return 1024 * int(text.partition(line + ":")[2].split()[0])

for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
    x = torch.ones(1 << 12, 1 << 11, dtype=dtype)
    for _ in range(2):  # the first time, what comes once
        Path("/proc/self/clear_refs").write_text("5")  # forget the most so far
        before = held("VmRSS")
        onesum.softmax(x, out=x)
        onesum.softmax(x.T, out=x.T)
        onesum.logsumexp(x.T)
        grown = held("VmHWM") - before
    assert grown < 0.6 * x.nbytes, (dtype, grown)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
