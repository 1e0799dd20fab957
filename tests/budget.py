"""Every tolerance of the tests, with its origin.

Errors are componentwise, in ulps of the result's dtype, against exact arithmetic. An ulp is
taken at one of two magnitudes: the exact result rounded to the dtype ("result"), or the sum of
the terms the result is made of ("scale", which oracle.py gives). The error allowed is `result`
ulps of the one plus `scale` ulps of the other; in the subnormal range it is `SUBNORMAL` (unless
the scale allows more).
"""

from __future__ import annotations

from typing import NamedTuple

# Half a smallest subnormal, and before it the rounding of an exponential, with what its parts lack
# (below): of what is just no normal number 1.1 u are 0.55 of it.
SUBNORMAL = 1.1


# Of the least normal numbers, up to 256 times the smallest: a probability's product with the second
# word of 1 / (1 + r) is subnormal, and has half an ulp of its own (docs/numerics.md).
LEAST_NORMAL = 0.5


class Budget(NamedTuple):
    result: float
    scale: float


# "16-bit types are widened once and rounded once": half an ulp for that rounding; a hundredth of
# one for the arithmetic before it (design table: 0.51), whose error is in proportion to the terms
# when they cancel.
ROUNDED_ONCE = Budget(0.5, 0.01)

# u is the unit roundoff, 2^-24 or 2^-53: the relative error of one rounding, and an ulp at most.
FLOAT32 = {
    # An exponential is rounded (u) of parts to whose rest, of 0.043 at most, three roundings go
    # (0.1 u), and so is its product with 1 / (1 + r) (half).
    "softmax": Budget(1.6, 0),
    # Design table.
    "log_softmax": Budget(1.5, 0),
    "logsumexp": Budget(0, 0.6),
    # v - C is rounded (u of |w - S|), and the product (half an ulp). S is a sum of products, each
    # rounded, of a rounded w, and of pairs of them: 3 u of sum |p w| where all is at its worst and
    # of one sign, and a little more than 1 as it comes.
    "softmax_vjp": Budget(0, 2),
    # J is symmetric: one kernel.
    "softmax_jvp": Budget(0, 2),
    # A pivoted form with an exponential for p, in wide sums: w, p S or w - S, the result. The VJP's
    # 1 - p of the pivot is a sum of pairs (u), of rounded exponentials.
    "log_softmax_vjp": Budget(0, 2),
    "log_softmax_jvp": Budget(0, 2),
    # As softmax: no p is rounded before it is multiplied.
    "logsumexp_vjp": Budget(0, 2),
    "logsumexp_jvp": Budget(0, 2),
    # log of a float64 sum, rounded.
    "signed_logsumexp": Budget(0, 0.6),
    # Design table of the losses: every loss and gradient within 2 of its terms.
    "cross_entropy": Budget(0, 2),
    "cross_entropy_grad": Budget(0, 2),
    # As the other gradients: all is computed in float64, and rounded once.
    "cross_entropy_hvp": Budget(0, 2),
    "entropy": Budget(0, 2),
    "kl_divergence": Budget(0, 2),
    "kl_divergence_grad": Budget(0, 2),
    # One entry of log_softmax.
    "selective_log_softmax": Budget(1.5, 0),
    # p times 1 - p, each rounded, or summed in float64; off the diagonal one product, over T.
    "jacobian": Budget(2, 0),
    # b/p less the mean of b/p, times T: roundings of the terms.
    "solve": Budget(0, 2),
    # Sums of d products for the logits, of n or k for the gradients, in whatever order BLAS has.
    "linear_cross_entropy": Budget(0, 16),
    # In float64, rounded once.
    "gradient_and_curvature": ROUNDED_ONCE,
}

FLOAT64 = {
    # Design table.
    "softmax": Budget(2, 0),
    "log_softmax": Budget(2, 0),
    # m/T and log1p(r): each within 1, the sum rounded.
    "logsumexp": Budget(0, 2),
    # As in float32.
    "softmax_vjp": Budget(0, 2),
    "softmax_jvp": Budget(0, 2),
    # w (1), the sum S (1, compensated or blocked), their difference, the product and 1/T (half
    # each) come to 3 ulps of |w| + sum |p w| at most: there is no wider type to hide S in.
    "log_softmax_vjp": Budget(0, 3),
    "log_softmax_jvp": Budget(0, 3),
    # As softmax, with g/T in the factor.
    "logsumexp_vjp": Budget(0, 3),
    "logsumexp_jvp": Budget(0, 3),
    # one rounding per term of the total, its log (1), m/T (half) and the sum of the two.
    "signed_logsumexp": Budget(0, 3),
    # Design table of the losses: a term is a product of a target mass (of (1 - e) w y + e w / C,
    # times s), p or log p, and what divides by the number of rows and T, each rounded.
    # Beneath a softcap oracle_losses.py has larger scales.
    "cross_entropy": Budget(0, 4),
    "cross_entropy_grad": Budget(0, 4),
    "cross_entropy_hvp": Budget(0, 4),
    "entropy": Budget(0, 4),
    # Of p and q that are near: w is rounded once and counts twice in its square (1); that times p,
    # their sum, its log1p (half each, and what they are off): 4 at most.
    "kl_divergence": Budget(0, 4),
    "kl_divergence_grad": Budget(0, 4),
    "selective_log_softmax": Budget(2, 0),
    # 1 - p (half; at the pivot a sum, 1), the product, 1/T; with an exponential for p one more.
    "jacobian": Budget(3, 0),
    "solve": Budget(0, 4),
    "linear_cross_entropy": Budget(0, 16),
    # Some ten operations, each rounded: powers, products, exponentials.
    "gradient_and_curvature": Budget(0, 16),
}


def budget(function: str, dtype: str) -> Budget:
    """The error allowed to a function whose result has this dtype."""
    if dtype in ("float16", "bfloat16"):
        return ROUNDED_ONCE
    return {"float32": FLOAT32, "float64": FLOAT64}[dtype][function]


# The references themselves. EXACT has 60 digits; WIDE has 64 bits, and an `expl`, a sum and a
# quotient of 1 or 2 ulps each: a hundredth of a float64 ulp is 20 of those.
EXACT_RELATIVE = 1e-50
WIDE_FLOAT64_ULPS = 0.01
# What errors are measured by needs few digits, and beneath a softcap of 30 it has some fewer.
WIDE_SCALE = 1e-15
# sech^2 in float64, whose quotients come in two words: the exponential (1), and the rounding.
SOFTCAP_SLOPE_ULPS = 2.0
# Two numbers of 700 digits, each shown as a np.longdouble made of two float64.
DOUBLED_LONGDOUBLE = 2.0**-62
# exp(log p) sums to 1 within the rounding of log p: log 4 = 1.39 is half an ulp of 2^-52 off at
# most.
LOGARITHMS_OF_P = 2.0**-52
# A product with the dense matrix, in float64: n = 6 products and sums, an ulp of 2^-52 each.
DENSE_PRODUCT = 16 * 2.0**-52
# Singular values below this part of the largest are the Jacobian's null space; the others are above
# 1/100 of it in the tests that ask.
RANK = 1e-10

# The seeds' formulas as they are printed, evaluated in float64 on logits of spread 2 and n <= 10:
# each is a sum of at most 10 products of numbers below 4, in units of 2^-52.
PRINTED_FORMULA = 64 * 2.0**-52
# The example. Its own accuracy, from the issue; the dense matrix differs from the O(n) backward by
# the rounding of 10 products; central differences with a step of eps^(1/3) err by about eps^(2/3).
DIGITS_ACCURACY = 0.96
DIGITS_DENSE = 1e-14
DIGITS_DIFFERENCES = 1e-8
# Central differences of a loss, or of a gradient, with a step of 1e-5: they err by its square times
# a third derivative, and by a rounding of 2^-52 over the step, and more where terms are of 100.
DIFFERENCES = 1e-7
# PyTorch's own losses: a logarithm, a sum and p - q of numbers near 1, each rounded, then a sum
# over the rows; in units of 2^-52.
TORCH = 64 * 2.0**-52
# Dask's matrix products, of matrices cut in two: sums of 6 products below 100 in another order.
DASK_PRODUCT = 16 * 2.0**-52
# Classes in chunks and all at once: each within 4 ulps of the exact result, or of its terms.
DASK_CHUNKS = 8 * 2.0**-52
# Without float64 all is in two words of float32, of which an exponential has but one: NumPy's is
# within 2.52 ulp (its release notes), and is multiplied or added to. In ulps of the terms.
FLOAT32_ALONE = 4
# In the units of these bounds: torch's formulas, on devices that the core does not serve, are as
# good as the device's exp. In float32 that is rounded before it is multiplied, and its argument,
# which beneath a softcap may be 30 and more, is rounded before that.
FORMULAS = 16
# Divergences of rows, of which every term is positive: relative. Of the definition, which has two
# words where they matter: an exponential, a quotient, a series and two products, some ulps each, in
# p, d and the term. Of the kernel in double: what is asked of it.
DIVERGENCE = {"reference": 32 * 2.0**-52, "native": 1e-12}
# The same where they are next to nothing: the kernel's p of float32 logits sum to 1 but for 2^-26,
# and of that Jensen-Shannon's has the first order and the second right.
DIVERGENCE_LEAST = 2.0**-78
# What a comparison adds to float64 numbers of rows: sums of some thousands, pairwise.
COMPARED = 1e-12
# The log-likelihood of float32 logits: of FLOAT32["cross_entropy"], 2 ulps of terms below 16.
LIKELIHOOD_FLOAT32 = 2.0**-19
# What `onesum loss` tells: means and standard deviations of some forty float64 losses, each within
# 4 ulps, by sums, a merge for each block, a root and an exponential: below 100 ulps of 2^-52.
CLI_STATISTICS = 256 * 2.0**-52
# What `onesum.explain` has in 100 digits: some ten operations a result, each rounded.
EXPLAINED = 1e-97
# The numbers of a step, which have 100 digits, lose some where they cancel: 18 of 1 - p at p = 1 -
# 4e-18, where log(E) - x loses as many.
EXPLAINED_STEPS = 1e-75
# Half an ulp of the exact result, where rounding it to float64 on the way to a smaller type may
# have moved a tie.
EXPLAINED_HALF_ULP = 2.0**-28
# Exact results as 30 digits.
EXPLAINED_SHOWN = 1e-29
# The explorer's page, in doubles: an exponential of (x - m)/T, whose rounding counts 708 times
# where p is smallest, and some ten operations. In the oracle's scale; issue 14 asks for it.
EXPLORER = 1e-12
# The explorer's pictures: bars and arrows of 150 pixels and more, of which one may be missing, or
# the two places to which logits are rounded when p is dragged. Coordinates in SVG are float32,
# below 512: 2^-16, of arrows half a unit long or more.
EXPLORER_PIXEL = 0.01
EXPLORER_DIRECTION = 2.0**-14
# A temperature: Newton's last step leaves an error of about its square, 1e-14, and the slope is a
# sum of some thousand terms, each rounded, of either sign: relative.
TEMPERATURE = 1e-12
# What a search by values of a loss finds: values differ by a rounding of 2^-52 within its root,
# 1.5e-8, of the optimum, over the root of the curvature, which is near 1 here.
BY_VALUES = 1e-7
# Means of some thousand float64 numbers near 1, and another library's in another order.
METRICS = 1e-13
# torchmetrics adds some thousand confidences in float32, each addition with a rounding of 2^-24.
METRICS_FLOAT32 = 2e-5
# How far `partial_fit` may be from `fit`, in standard errors: third derivatives, seen to be 0.1.
PARTIAL_FIT = 0.25
# The exact results of an audit, in 60 digits of decimal arithmetic, beside the oracle's, which come
# in np.longdouble: two of its half ulps. Relative to the scale.
AUDIT_EXACT = 2.0**-63
