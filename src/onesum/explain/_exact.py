"""The results in a hundred digits, by forms in which nothing is lost however small it is.

`decimal` of the standard library does it, under `ARITHMETIC`: its exponential and its logarithm
are correctly rounded in any number of digits, and its exponents have eighteen digits of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context, Decimal

DIGITS = 100
ARITHMETIC = Context(prec=DIGITS, Emax=10**18 - 1, Emin=1 - 10**18, traps=[])
ONE, ZERO = Decimal(1), Decimal(0)
NAN, INFINITY = Decimal("NaN"), Decimal("Infinity")
MOST_DIGITS = 5000  # that a probability next to 1 begins with
LARGEST = 1e15  # logits whose exponentials decimal can hold


def log1p(r: Decimal) -> Decimal:
    """log(1 + r) for r >= 0, to all digits where 1 + r has lost some of r."""
    if r > Decimal("1e-30"):
        return (ONE + r).ln()
    return r * (ONE - r * (Decimal("0.5") - r * (ONE / 3 - r / 4)))  # the next term is r^4/5


def _beside_one(rest: Decimal) -> Context:
    """With so many digits that 1 + rest keeps a hundred of the rest, within reason."""
    lost = min(max(-rest.adjusted(), 0), MOST_DIGITS) if rest else 0
    return Context(prec=DIGITS + lost, Emax=ARITHMETIC.Emax, Emin=ARITHMETIC.Emin, traps=[])


class ExactRow:
    """Of finite logits and of -inf, at least one of them finite."""

    def __init__(self, x: Sequence[float]) -> None:
        self.x = [Decimal(float(a)) for a in x]
        self.m = max(self.x)
        self.pivot = self.x.index(self.m)
        self.shifted = [(a - self.m).exp() for a in self.x]
        self.r = sum((e for c, e in enumerate(self.shifted) if c != self.pivot), ZERO)
        self.p = [e / (ONE + self.r) for e in self.shifted]
        self._wide = _beside_one(self.r)
        self.p[self.pivot] = self._wide.subtract(ONE, self.r / (ONE + self.r))
        self.log_p = [(a - self.m) - log1p(self.r) for a in self.x]

    @property
    def total(self) -> Decimal:
        """The sum of the exponentials."""
        wide = self._wide
        return wide.multiply(wide.exp(self.m), wide.add(ONE, self.r))

    def exp(self, i: int) -> Decimal:
        return self.x[i].exp()

    def complement(self, i: int) -> Decimal:
        """1 - p_i: no other p but the pivot's is more than a half."""
        return self.r / (ONE + self.r) if i == self.pivot else ONE - self.p[i]

    def jacobian(self, i: int, j: int) -> Decimal:
        return self.p[i] * self.complement(i) if i == j else -self.p[i] * self.p[j]

    def log_jacobian(self, i: int, j: int) -> Decimal:
        """The derivative of log p_i by x_j."""
        return self.complement(i) if i == j else -self.p[j]

    def vjp(self, g: Sequence[Decimal]) -> list[Decimal]:
        """The gradient by x where g is that by p; of a class without probability g is not read."""
        # w is measured from the pivot, so that only small p are multiplied by it.
        w = [a - g[self.pivot] if p else ZERO for a, p in zip(g, self.p, strict=True)]
        s = sum((p * a for p, a in zip(self.p, w, strict=True)), ZERO)
        return [p * (a - s) if p else ZERO for p, a in zip(self.p, w, strict=True)]

    def cross_entropy(self, target: int) -> tuple[Decimal, list[Decimal]]:
        """-log p of the target, and its gradient."""
        gradient = list(self.p)
        gradient[target] = -self.complement(target)
        return ZERO - self.log_p[target], gradient
