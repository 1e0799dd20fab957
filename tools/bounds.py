"""Measure the errors that docs/numerics.md promises bounds for, and write its table of both.

`python tools/bounds.py` takes a minute or two. The bounds are those of tests/budget.py, the exact
results and the rows those of the tests, each for every backend and instruction set that is here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

import oracle  # noqa: E402
import oracle_losses  # noqa: E402
from budget import budget  # noqa: E402
from implementations import Api, every  # noqa: E402
from measure import excess, smallest_normal  # noqa: E402
from oracle import WIDE, Reference  # noqa: E402
from rows import KINDS, arguments, logits  # noqa: E402

PAGE = ROOT / "docs" / "numerics.md"
BLOCK = re.compile(r"(?<=<!-- begin: bounds -->\n).*?(?=<!-- end: bounds -->)", re.DOTALL)
SHAPES = [(64, 2), (64, 10), (7, 300), (1, 20_000)]
DTYPES = ("float32", "float64", "float16", "bfloat16")
Ask = Callable[[Api], Any]


class Line(NamedTuple):
    """A line of the table: a name of tests/budget.py for each function that it is about."""

    label: str
    functions: tuple[str, ...]
    unit: str


TERMS = "the sum of the terms' magnitudes"
TABLE = [
    Line("softmax", ("softmax",), "the result"),
    Line("log_softmax, also where $p \\to 1$", ("log_softmax",), "the result"),
    Line("logsumexp", ("logsumexp",), "the larger of abs(m) and abs(result)"),
    Line(
        "softmax_vjp, softmax_jvp",
        ("softmax_vjp",),
        "$p_i (\\lvert g_i - \\mu\\rvert + \\sum p \\lvert w\\rvert)$",
    ),
    Line("log_softmax_vjp, log_softmax_jvp", ("log_softmax_vjp", "log_softmax_jvp"), TERMS),
    Line("logsumexp_vjp", ("logsumexp_vjp",), "the result"),
    Line("logsumexp_jvp", ("logsumexp_jvp",), TERMS),
    Line("cross_entropy", ("cross_entropy",), "the result"),
    Line("its gradient", ("cross_entropy_grad",), f"the result (class indices), or {TERMS}"),
    Line("cross_entropy_hvp", ("cross_entropy_hvp",), TERMS),
    Line("entropy, kl_divergence", ("entropy", "kl_divergence"), "the result"),
    Line("gradients of kl_divergence", ("kl_divergence_grad",), TERMS),
]


def questions(function: str, x: Any) -> Iterator[tuple[Ask, Reference]]:
    """What to ask an implementation about these logits, and what it should answer."""
    if function == "entropy":
        yield lambda api: api.entropy(x), oracle_losses.entropy(x, arithmetic=WIDE)
    elif function.startswith("kl_divergence"):
        y = logits("spread 3", *x.shape, x.dtype, seed=1)
        exact = oracle_losses.kl_divergence(x, y, arithmetic=WIDE)
        if function == "kl_divergence":
            yield lambda api: api.kl_divergence(x, y, reduction="none"), exact.value
            return
        for i, right in enumerate((exact.by_x, exact.by_y)):
            yield (
                lambda api, i=i: api.kl_divergence_value_and_grad(x, y, reduction="none")[1][i],
                right,
            )
    elif function.startswith("cross_entropy"):
        yield from of_targets(function, x)
    else:
        args = arguments(function, x)
        yield (
            lambda api: getattr(api, function)(*args),
            getattr(oracle, function)(*args, arithmetic=WIDE),
        )


def of_targets(function: str, x: Any) -> Iterator[tuple[Ask, Reference]]:
    """The same of every kind of target."""
    v = arguments("softmax_vjp", x)[1]
    for kind in oracle_losses.TARGETS:
        target, options = oracle_losses.targets(kind, x)
        if function == "cross_entropy_hvp":
            right = oracle_losses.cross_entropy_hvp(x, target, v, **options, arithmetic=WIDE)
            name, args = function, (x, target, v)
        else:
            losses = oracle_losses.cross_entropy(x, target, **options, arithmetic=WIDE)
            right = losses.loss if function == "cross_entropy" else losses.grad
            name, args = "cross_entropy_value_and_grad", (x, target)

        def ask(api: Api, name: str = name, args: Any = args, options: Any = options) -> Any:
            answer = getattr(api, name)(*args, reduction="none", **options)
            if function == "cross_entropy_hvp":
                return answer
            return answer[function == "cross_entropy_grad"]

        yield ask, right


def largest(function: str, dtype: str) -> float:
    """The largest error of a result that is a normal number, in the ulps of the budget."""
    worst, allowed = 0.0, sum(budget(function, dtype))
    for kind in KINDS:
        for k, n in SHAPES:
            for ask, right in questions(function, logits(kind, k, n, dtype)):
                normal = abs(right.value) >= smallest_normal(dtype)
                for api in every(dtype):
                    over = excess(ask(api), right, function)
                    worst = max(worst, allowed * over.max(where=normal, initial=0.0))
    return worst


def table() -> Iterator[str]:
    yield "| | float32 | found | float64 | found | in ulps of |"
    yield "|---|---:|---:|---:|---:|---|"
    half = 0.0
    for line in TABLE:
        cells = []
        for dtype in DTYPES[:2]:
            promised = max(sum(budget(f, dtype)) for f in line.functions)
            found = max(largest(f, dtype) for f in line.functions)
            cells += [f"{promised:g}", f"{found:.2f}"]
        half = max(half, *(largest(f, dtype) for f in line.functions for dtype in DTYPES[2:]))
        yield f"| {line.label} | {' | '.join(cells)} | {line.unit} |"
        print(line.label, cells, half, flush=True)
    unit = f"the result: 0.5, {TERMS}: 0.01"
    yield f"| float16, bfloat16: all of them | 0.51 | {half:.3f} | | | {unit} |"


if __name__ == "__main__":
    text = "\n".join(table()) + "\n"
    PAGE.write_text(BLOCK.sub(lambda _: text, PAGE.read_text()))
