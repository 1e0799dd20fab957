"""Print the polynomial coefficients of csrc/numerics/exp.h, with the error of each after rounding.

Remez exchange in 60-digit arithmetic, minimising the *relative* error of the function that is
computed. Run it again when a degree changes; exp.h states the bounds that are printed.
"""

from mpmath import mp, mpf

mp.dps = 60


def remez(target, weight, degree, lo, hi, rounds=12):
    """Coefficients of the polynomial with the least max |weight (poly - target)| on [lo, hi]."""
    count = degree + 2
    mid, half = (lo + hi) / 2, (hi - lo) / 2
    nodes = [mid - half * mp.cos(mp.pi * i / (count - 1)) for i in range(count)]
    grid = [lo + (hi - lo) * i / 3000 for i in range(3001)]
    for _ in range(rounds):
        rows = mp.matrix(count, count)
        values = mp.matrix(count, 1)
        for i, t in enumerate(nodes):
            for j in range(degree + 1):
                rows[i, j] = t**j
            rows[i, degree + 1] = (-1) ** i / weight(t)
            values[i] = target(t)
        solution = mp.lu_solve(rows, values)
        c = [solution[j] for j in range(degree + 1)]
        errors = [weight(t) * (mp.polyval(c[::-1], t) - target(t)) for t in grid]
        # one extremum per run of equal sign
        nodes, best = [], 0
        for i in range(1, len(grid)):
            if errors[i] * errors[best] < 0:
                nodes.append(grid[best])
                best = i
            elif abs(errors[i]) > abs(errors[best]):
                best = i
        nodes.append(grid[best])
        nodes = nodes[:count]
        if len(nodes) < count:
            break
    return c, max(abs(e) for e in errors)


def show(name, coefficients, error, to_storage):
    print(f"// {name}: relative error 2^{float(mp.log(error, 2)):.1f}")
    print("   ", ", ".join(to_storage(c) for c in coefficients))


def as_float(c):
    import numpy as np

    return float(np.float32(float(c))).hex() + "f"


def as_double(c):
    return float(c).hex()


if __name__ == "__main__":
    half_ln2 = mp.log(2) / 2 * mpf("1.002")  # n is rounded from a rounded product

    def exp_tail(t):  # q in exp(t) = 1 + t + t^2 q(t)
        return (
            mp.nsum(lambda k: t**k / mp.factorial(k + 2), [0, 40])
            if abs(t) < mpf("0.05")
            else (mp.exp(t) - 1 - t) / t**2
        )

    def exp_weight(t):
        return t * t * mp.exp(-t) + mpf(10) ** -12

    # floats have a table of eight entries
    for entries, degree, storage in ((8, 2, as_float), (1, 9, as_double)):
        half = half_ln2 / entries
        c, error = remez(exp_tail, exp_weight, degree, -half, half)
        show(f"exp with a table of {entries}, q of degree {degree}", c, error, storage)

    # log(1 + g) = 2 atanh(s), s = g / (2 + g), 1 + g in [1/sqrt 2, sqrt 2];
    # atanh(s)/s = 1 + z q(z), z = s^2
    top = ((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2 * mpf("1.001")

    def atanh_tail(z):
        return mp.nsum(lambda k: z**k / (2 * k + 3), [0, 60])

    for degree in (6, 3):
        c, error = remez(atanh_tail, lambda z: z + mpf(10) ** -12, degree, mpf(0), top)
        show(f"log1p, q of degree {degree}", c, error, as_double)

    ln2 = mp.log(2)
    for bits, storage in ((14, as_float), (40, as_double)):
        hi = mp.floor(ln2 * 2**bits) / 2**bits
        print("// ln 2 in two words:", storage(hi), storage(ln2 - hi))
    print("// log2 e:", as_float(1 / ln2), as_double(1 / ln2))
