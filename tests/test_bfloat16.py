"""bfloat16 in the compiled core: its bits as uint16, with no package that defines the type."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from implementations import core
from measure import same_bits

import onesum

X = np.random.default_rng(1).normal(0, 3, (3, 5, 7)).astype(ml_dtypes.bfloat16)
P, LOGP = onesum.softmax(X), onesum.log_softmax(X)
G = np.random.default_rng(2).normal(size=X.shape).astype(ml_dtypes.bfloat16)
NONE = None, 0.0, None, None, 0.0, None, 1.0, None  # the options of a loss

# The direct calls, but for axis and `out`: arrays, what follows the axis, what follows `out`.
CALLS: dict[str, tuple[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...]]] = {
    "softmax": ((X,), (0.7,), ()),
    "log_softmax": ((X,), (1.0,), ()),
    "logsumexp": ((X,), (0.7,), (False,)),
    "softmax_vjp": ((P, G), (1.0,), ()),
    "log_softmax_vjp": ((LOGP, G), (0.7,), ()),
    "log_softmax_jvp": ((LOGP, G), (1.0,), ()),
    "logsumexp_vjp": ((X, G[:, :, :1]), (1.0,), (True,)),
    "logsumexp_jvp": ((X, G), (1.0,), (False,)),
}


def bits(a: Any) -> Any:
    return a.view(np.uint16) if a.dtype == ml_dtypes.bfloat16 else a


@pytest.mark.parametrize("function", CALLS)
def test_direct_calls(kernel_api, function):
    """The bits that come are those of bfloat16; for NumPy's users uint16 are integers."""
    arrays, before, after = CALLS[function]
    given = tuple(map(bits, arrays))
    direct, of_bits = (getattr(d, function) for d in (core().direct, core().direct_bfloat16))
    kept = {"keepdims": True} if after == (True,) else {}
    wanted = getattr(kernel_api, function)(*arrays, temperature=before[0], **kept)
    got = of_bits(*given, -1, *before, None, *after)
    assert same_bits(got.view(ml_dtypes.bfloat16), wanted)
    if not after or after == (True,):
        out = np.empty_like(given[0])
        assert of_bits(*given, -1, *before, out, *after) is out
        assert same_bits(out.view(ml_dtypes.bfloat16), wanted)
    assert direct(*given, -1, *before, None, *after) is NotImplemented
    floats = tuple(a.astype(np.float32) for a in arrays)
    assert of_bits(*floats, -1, *before, None, *after) is NotImplemented


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_direct_losses(kernel_api, reduction):
    y = np.random.default_rng(3).integers(0, 7, (3, 5))
    for target in (y, P):
        for softcap in (None, 3.0):
            options = *NONE[:5], softcap, *NONE[6:], reduction, True, None
            call = core().direct_bfloat16.cross_entropy
            got = call(bits(X), bits(target), -1, *options)
            by_name = {"softcap": softcap, "reduction": reduction}
            wanted = kernel_api.cross_entropy_value_and_grad(X, target, **by_name)
            for a, b in zip(got, wanted, strict=True):
                assert same_bits(a.view(ml_dtypes.bfloat16), b)
            assert (
                core().direct.cross_entropy(bits(X), bits(target), -1, *options) is NotImplemented
            )


@pytest.mark.usefixtures("kernel_api")
def test_a_loss_is_rounded_to_the_even_neighbour():
    """Of one row of weight s the loss is s log(2): ties, the next numbers, the end of the type."""
    x, y = np.zeros((1, 2), np.uint16), np.zeros(1, np.int64)
    for wanted in [1.0, 257.0, 259.0, 257.0001, 3.3e38, 3.4e38, 1e-40, 0.0]:
        s = np.array([wanted / np.log(2)])
        options = None, 0.0, None, s, 0.0, None, 1.0, None, "sum", False, None
        loss, _ = core().direct_bfloat16.cross_entropy(x, y, -1, *options)
        exact = onesum.cross_entropy(np.zeros((1, 2)), y, sample_weight=s, reduction="sum")
        assert loss.view(ml_dtypes.bfloat16) == ml_dtypes.bfloat16(exact)
    nan = np.full((1, 2), 0x7FFF, np.uint16)
    options = None, 0.0, None, None, 0.0, None, 1.0, None, "sum", False, None
    loss, _ = core().direct_bfloat16.cross_entropy(nan, y, -1, *options)
    assert np.isnan(loss.view(ml_dtypes.bfloat16))


@pytest.mark.usefixtures("kernel_api")
def test_tensors_without_a_copy():
    """What a tensor lends has its memory, and so has `out`."""
    t = torch.tensor(X.astype(np.float32)).to(torch.bfloat16)
    x = t.view(torch.uint16).numpy()
    assert core().direct_bfloat16.softmax(x, -1, 1.0, x) is x
    assert np.array_equal(t.to(torch.float32).numpy(), onesum.softmax(X).astype(np.float32))


WITHOUT = """
import sys
sys.modules["ml_dtypes"] = None
import numpy as np
from onesum import _core
x = np.array([[0x3F80, 0x4000, 0xC040]], np.uint16)  # 1, 2, -3
p = _core.softmax(x, np.asarray(1.0), None)
assert p.dtype == np.uint16, p.dtype
assert np.array_equal(p, _core.direct_bfloat16.softmax(x, -1, 1.0, None))
rows = None, None, np.zeros(1, np.int64), None, None, None
options = *rows, 1, 1.0, 0.0, 0.0, 0.0, 1.0, True, None
losses, grad = _core.losses("cross_entropy", x, None, *options)
assert losses.dtype == np.float64 and grad.dtype == np.uint16
print(p.tolist())
"""


@pytest.mark.usefixtures("kernel_api")
def test_without_the_package_that_defines_the_type():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    x = np.array([[1, 2, -3]], ml_dtypes.bfloat16)
    assert done.stdout.strip() == str(bits(onesum.softmax(x)).tolist())
