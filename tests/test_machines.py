"""The same bits by every instruction set that has a fused multiply-add (decision 0022).

x86-64-v2 has none: there a product is rounded before something is added to it, and a last bit may
be another. That of arm64 is compared by `make test-neon`, through the digests of the sweep.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fuzz.call import answer, make, source
from fuzz.draw import RECIPES, draw
from implementations import SAME_BITS, arrays_of, core, using
from measure import BFLOAT16, same_bits
from oracle_losses import TARGETS, targets
from rows import KINDS, MASKABLE, OPERATIONS, arguments, classes_first, logits

import onesum

FUSED = [f"native-{isa}" for isa in core().isas if isa in SAME_BITS] if core() else []
# Any tail of any vector, and what is beyond it: blocks, chunks of a cache, segments of a long row.
SIZES = [*range(1, 36), 47, 48, 49, 63, 64, 65, 100, 127, 128, 129, 255, 500, 1000, 1025, 5000]
FLOATS = ("float16", "bfloat16", "float32", "float64")
EACH = 40  # calls of each function

pytestmark = pytest.mark.skipif(
    len(FUSED) < 2, reason=f"with a fused multiply-add there is {', '.join(FUSED) or 'no kernel'}"
)


def numbers(answer: Any) -> list[np.ndarray]:
    """The arrays of an answer, every NaN in it the same one."""
    arrays = [np.array(a) for a in arrays_of(answer)]
    for a in arrays:
        if a.dtype.kind == "f" or a.dtype == BFLOAT16:
            a[np.isnan(a)] = np.nan
    return arrays


def by_each(call: Any) -> Any:
    """Name and answer of each instruction set, after the first one's answer."""
    answers = {}
    for name in FUSED:
        with using(name):
            answers[name] = numbers(call())
    return answers


def agree(call: Any, note: str) -> None:
    first, *others = by_each(call).items()
    for name, got in others:
        same = len(got) == len(first[1]) and all(map(same_bits, got, first[1]))
        assert same, f"{note}: {name} differs from {first[0]}"


@pytest.mark.parametrize("function", OPERATIONS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_rows_of_every_length(function, dtype):
    """Rows, columns, rows apart; temperatures, one and for each row; masks."""
    rng = np.random.default_rng([len(function), len(dtype)])
    call = getattr(onesum, function)
    for n in SIZES:
        k = 37 if n < 40 else 7 if n < 1000 else 2
        args = arguments(function, logits(list(KINDS)[n % len(KINDS)], k, n, dtype, seed=n))
        for options in (
            {},
            {"temperature": float(rng.choice([0.1, 0.7, 3, 100]))},
            {"temperature": np.exp(rng.normal(size=k))},
        ):
            agree(lambda args=args, o=options: call(*args, **o), f"n={n}, {options}")
            first = classes_first(function, args)
            agree(lambda args=first, o=options: call(*args, axis=0, **o), f"n={n}, columns")
        if function in MASKABLE:
            where = rng.random((k, n)) < 0.7
            agree(lambda args=args, w=where: call(*args, where=w), f"n={n}, where")


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_losses_of_every_length(kind, dtype):
    for n in SIZES[1::3]:
        x = logits("spread 3", 19 if n < 100 else 3, n, dtype, seed=n)
        y, options = targets(kind, x)
        v = arguments("softmax_vjp", x)[1]
        options |= {"reduction": "none"}
        agree(lambda: onesum.cross_entropy_value_and_grad(x, y, **options), f"n={n}")  # noqa: B023
        agree(lambda: onesum.cross_entropy_hvp(x, y, v, **options), f"n={n}, hvp")  # noqa: B023


@pytest.mark.parametrize("function", RECIPES)
def test_calls_at_random(function):
    """Of every public function, with any options, layouts and numbers."""
    for number in range(EACH):
        call = draw(23, number, (function,))

        def run(call: Any = call) -> Any:
            with np.errstate(all="ignore"):
                return answer(call, make(call))

        agree(run, f"call {number}\n{source(call)}\n")
