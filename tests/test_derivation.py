"""The derivations of docs/derivation.md, checked symbolically with SymPy.

The three routes to the Jacobian are checked for every number of classes n, with a sum that SymPy
never expands. What needs a whole matrix (the backward formula, the pivoted forms, the
pseudo-inverses) is checked with three classes and the probabilities as free symbols.
"""

import itertools
import re
from pathlib import Path

import pytest
import sympy as sp

from onesum.explain import explain
from onesum.explain._latex import LATEX
from onesum.explain._layout import Cases

PAGE = Path(__file__).parent.parent / "docs" / "derivation.md"

# -- the three routes to the Jacobian, for every n -------------------------------------------------

x = sp.IndexedBase("x", real=True)
n, i, j, k = sp.symbols("n i j k", integer=True, positive=True)
total = sp.Sum(sp.exp(x[k]), (k, 1, n))
delta = sp.KroneckerDelta(i, j)
z = sp.symbols("z1:4", real=True)  # and three classes, written out


def p(index):
    """Softmax of all of x, its component at the index."""
    return sp.exp(x[index]) / total


def in_range(expr):
    """Carry the derivative into the sum, with every index between 1 and n."""
    return expr.doit().subs({i <= n: True, j <= n: True})


def is_zero(expr):
    """Exponentials and unexpanded sums become symbols; rational functions have a normal form."""
    expr = expr.subs({a: sp.Dummy(positive=True) for a in expr.atoms(sp.Sum)})
    logits = expr.atoms(sp.Indexed) | (expr.free_symbols & set(z))
    expr = expr.subs({a: sp.log(sp.Dummy(positive=True)) for a in logits})
    return sp.cancel(sp.together(expr)) == 0


def test_is_zero_can_say_no():
    assert is_zero(p(i) - sp.exp(x[i]) / total)
    assert not is_zero(p(i) - p(j))
    assert not is_zero(in_range(p(i).diff(x[i])) - p(i))


def test_quotient_rule_same_index():
    """Batched-layer note, equation (3): the case i = j."""
    derivative = in_range(p(i).diff(x[i]))
    line = -sp.exp(x[i]) * sp.exp(x[i]) / total**2 + sp.exp(x[i]) / total
    assert is_zero(derivative - line)
    assert is_zero(derivative - p(i) * (1 - p(i)))


def test_quotient_rule_different_index():
    """Batched-layer note, equation (4): the case i != j."""
    derivative = in_range(p(i).diff(x[j]).subs(delta, 0))
    assert is_zero(derivative + sp.exp(x[i]) * sp.exp(x[j]) / total**2)
    assert is_zero(derivative + p(i) * p(j))


def test_both_cases_are_one_formula():
    """Batched-layer note, equation (5), with the Kronecker delta in place of the brace."""
    assert is_zero(in_range(p(i).diff(x[j])) - p(i) * (delta - p(j)))


def test_logarithmic_differentiation_in_base_b():
    """Rangarajan 2024: the logarithm's base enters and leaves again."""
    b = sp.Symbol("b", positive=True)
    log_b = sp.log(p(j)) / sp.log(b)
    of_the_logarithm = in_range(log_b.diff(x[i]))
    assert is_zero(of_the_logarithm - (delta - p(i)) / sp.log(b))
    assert is_zero(in_range(p(j).diff(x[i])) - of_the_logarithm * p(j) * sp.log(b))
    assert is_zero(of_the_logarithm * p(j) * sp.log(b) - p(j) * (delta - p(i)))


def test_logarithmic_derivative_of_any_function():
    """Purcell 2021, equation (2), for an unspecified function f."""
    f, t = sp.Function("f"), sp.Symbol("t")
    assert sp.simplify(sp.log(f(t)).diff(t) - f(t).diff(t) / f(t)) == 0


def test_natural_logarithm_with_kronecker_delta():
    """Purcell 2021, equations (3) to (5)."""
    s = x[i] - sp.log(total)
    assert is_zero(sp.exp(s) - p(i))
    assert is_zero(in_range(s.diff(x[j])) - (delta - p(j)))
    assert is_zero(p(i) * in_range(s.diff(x[j])) - in_range(p(i).diff(x[j])))


ROUTES = ("quotient", "logarithm", "kronecker")


@pytest.mark.parametrize("route", ROUTES)
def test_the_routes_side_by_side(route):
    """A column of the table has the steps that `onesum.explain` shows, all and in their order.

    SymPy proves them in test_explain_maths.py. What stands in two lines is left to the words.
    """
    table = re.search(r"^\| \| quotient rule.*?(?=\n\n)", PAGE.read_text(), re.M | re.S)
    column = 2 + ROUTES.index(route)
    cells = [line.split(" | ")[column - 1] for line in table[0].splitlines()[2:]]
    shown = "".join(re.findall(r"\$([^$]+)\$", " ".join(cells)))
    definition, *steps = explain([0.0, 1.0, 2.0], [1.0, 2.0, 5.0], None, route).sections[:-1]
    formulas = [step.formula for section in steps for step in section.steps]
    if route == "quotient":
        formulas.insert(0, definition.steps[1].formula)
    wanted = "".join(f.write(LATEX) for f in formulas if not isinstance(f.members[-1], Cases))
    assert shown.replace(" ", "") == wanted.replace(" ", "")


def test_gradient_of_logsumexp():
    assert is_zero(in_range(sp.log(total).diff(x[i])) - p(i))


def test_hessian_of_logsumexp_is_the_jacobian_of_softmax():
    hessian = in_range(sp.log(total).diff(x[i], x[j]))
    assert is_zero(hessian - p(i) * (delta - p(j)))


def test_temperature_divides_every_derivative():
    T = sp.Symbol("T", positive=True)
    cold_total = sp.Sum(sp.exp(x[k] / T), (k, 1, n))
    cold_p, cold_q = sp.exp(x[i] / T) / cold_total, sp.exp(x[j] / T) / cold_total
    assert is_zero(in_range(cold_p.diff(x[j])) - cold_p * (delta - cold_q) / T)
    assert is_zero(in_range(sp.log(cold_p).diff(x[j])) - (delta - cold_q) / T)
    assert is_zero(in_range(sp.log(cold_total).diff(x[i])) - cold_p / T)


# -- the shifted forward pass, three classes -------------------------------------------------------

CLASSES = range(3)
softmax = [sp.exp(a) / sum(map(sp.exp, z)) for a in z]


@pytest.mark.parametrize("pivot", CLASSES)
def test_shifted_forward(pivot):
    """p = exp(x - m) / (1 + r), log p = (x - m) - log(1 + r), logsumexp = m + log(1 + r)."""
    m = z[pivot]
    r = sum(sp.exp(z[c]) / sp.exp(m) for c in CLASSES if c != pivot)
    for c in CLASSES:
        shifted = sp.exp(z[c]) / sp.exp(m) / (1 + r)
        assert is_zero(shifted - softmax[c])
        assert is_zero(sp.exp((z[c] - m) - sp.log(1 + r)) - softmax[c])
    assert is_zero(sp.exp(m) * (1 + r) - sum(map(sp.exp, z)))
    assert is_zero(r / (1 + r) - (1 - softmax[pivot]))


def test_an_error_of_r_is_not_amplified_by_log1p():
    """docs/numerics.md: the relative change of log(1 + r) over that of r is at most 1."""
    r = sp.Symbol("r", positive=True)
    l = sp.log(1 + r)  # noqa: E741
    room = (1 + r) * l - r
    assert sp.simplify(r * l.diff(r) / l - r / ((1 + r) * l)) == 0
    assert room.subs(r, 0) == 0
    assert sp.simplify(room.diff(r) - l) == 0
    assert l.is_positive


def test_merge_of_normalizers():
    """docs/numerics.md: (m1, r1) and (m2, r2) of two sets of classes become that of both."""
    a, b, c, d = (sp.exp(x) for x in sp.symbols("x1:5", real=True))
    m1, m2 = a, c  # the exponentials of the maxima
    r1, r2 = b / m1, d / m2
    merged = r1 + m2 / m1 * (1 + r2)
    assert sp.simplify(m1 * (1 + merged) - (a + b + c + d)) == 0


def test_a_common_shift_cancels():
    c = sp.Symbol("c", real=True)
    shifted = [(sp.exp(a) * sp.exp(c)) / sum(sp.exp(b) * sp.exp(c) for b in z) for a in z]
    assert all(is_zero(a - b) for a, b in zip(shifted, softmax, strict=True))


def test_two_classes_are_the_logistic_function():
    a, b = z[:2]
    assert is_zero(sp.exp(a) / (sp.exp(a) + sp.exp(b)) - 1 / (1 + sp.exp(b) / sp.exp(a)))


# -- backward, pivoted forms, pseudo-inverses: three classes, probabilities as symbols -------------

q = sp.symbols("q1:4", positive=True)  # any probabilities: q1 + q2 + q3 = 1 is used where needed
g = sp.symbols("g1:4", real=True)
column = sp.Matrix(q)
gradient = sp.Matrix(g)
ones = sp.ones(3, 1)
J = sp.diag(*q) - column * column.T
L = sp.eye(3) - ones * column.T
centre = sp.eye(3) - ones * ones.T / 3


def vanishes(matrix, pivot=0):
    """Whether the matrix is 0 wherever q sums to one (the pivot's q is written by the others)."""
    rest = sum(q[c] for c in CLASSES if c != pivot)
    return all(is_zero(entry.subs(q[pivot], 1 - rest)) for entry in sp.Matrix(matrix))


def test_jacobian_matrices_are_the_derivatives():
    at_x = dict(zip(q, softmax, strict=True))
    for row, col in itertools.product(CLASSES, CLASSES):
        assert is_zero(softmax[row].diff(z[col]) - J[row, col].subs(at_x))
        assert is_zero(sp.log(softmax[row]).diff(z[col]) - L[row, col].subs(at_x))


def test_backward_in_order_n_equals_the_matrix():
    """Rangarajan 2024, final formula: dL/dX = (-sum g_k) Y + g with g = dL/dY * Y."""
    products = sp.HadamardProduct(gradient, column).doit()
    short = -sum(products) * column + products
    assert sp.expand(J.T * gradient - short) == sp.zeros(3, 1)


def test_backward_by_the_chain_rule():
    """Rangarajan 2024, the multivariable chain rule, through a loss that mixes the outputs."""
    at_x = dict(zip(q, softmax, strict=True))
    loss = q[0] * q[1] ** 2 + q[0] / q[2] - sp.log(q[1])
    cotangent = [loss.diff(a) for a in q]
    dot = sum(a * b for a, b in zip(cotangent, q, strict=True))
    for c in CLASSES:
        short = (q[c] * (cotangent[c] - dot)).subs(at_x)
        assert is_zero(loss.subs(at_x).diff(z[c]) - short)


def test_the_slip_in_the_expanded_matrix():
    """Rangarajan 2024 prints Y_2 (Y_n) in the last row; only Y_2 (-Y_n) gives the gradient."""
    right = g[0] * q[0] * (-q[2]) + g[1] * q[1] * (-q[2]) + g[2] * q[2] * (1 - q[2])
    printed = g[0] * q[0] * (-q[2]) + g[1] * q[1] * (+q[2]) + g[2] * q[2] * (1 - q[2])
    assert is_zero((J.T * gradient)[2] - right)
    assert is_zero(printed - right - 2 * g[1] * q[1] * q[2])


def test_the_slip_in_the_squared_denominators():
    """The batched-layer note prints exponent -2 below the fraction bar; only +2 is right."""
    E = sum(map(sp.exp, z))
    derivative = softmax[0].diff(z[0])
    assert is_zero(derivative - (-sp.exp(z[0]) * sp.exp(z[0]) / E**2 + sp.exp(z[0]) / E))
    assert not is_zero(derivative - (-sp.exp(z[0]) * sp.exp(z[0]) / E**-2 + sp.exp(z[0]) / E))


def test_the_slip_in_the_order_of_the_indices():
    """The batched-layer note, equation (6), has (dy/dx)_ij where g times it needs (dy/dx)_ji.

    J is symmetric and hides it; the Jacobian of log_softmax does not.
    """
    assert J * gradient == J.T * gradient
    back = sp.Matrix([a - b * sum(g) for a, b in zip(g, q, strict=True)])
    assert vanishes(L.T * gradient - back)
    assert not vanishes(L * gradient - back)


def test_the_slip_in_the_index():
    """Purcell 2021 prints d sigma(z_j) / d z_j; the right side is d sigma(z_i) / d z_j."""
    right_side = softmax[0] * (0 - softmax[1])
    assert is_zero(softmax[0].diff(z[1]) - right_side)
    assert not is_zero(softmax[1].diff(z[1]) - right_side)


@pytest.mark.parametrize("pivot", CLASSES)
def test_pivoted_softmax_product(pivot):
    """p_i (v_i - sum p v) = p_i (w_i - S), and -p S at the pivot, wherever p sums to one."""
    w = [a - g[pivot] for a in g]
    S = sum(q[c] * w[c] for c in CLASSES if c != pivot)
    pivoted = [q[c] * (w[c] - S) if c != pivot else -q[c] * S for c in CLASSES]
    assert vanishes(J * gradient - sp.Matrix(pivoted), pivot)


@pytest.mark.parametrize("pivot", CLASSES)
def test_pivoted_log_softmax_products(pivot):
    """The pivot's 1 - p is the sum of the other probabilities."""
    others = [c for c in CLASSES if c != pivot]
    rest = sum(q[c] for c in others)
    backward = [a - b * sum(g) for a, b in zip(g, q, strict=True)]
    backward[pivot] = g[pivot] * rest - q[pivot] * sum(g[c] for c in others)
    assert vanishes(L.T * gradient - sp.Matrix(backward), pivot)

    w = [a - g[pivot] for a in g]
    S = sum(q[c] * w[c] for c in others)
    forward = [w[c] - S if c != pivot else -S for c in CLASSES]
    assert vanishes(L * gradient - sp.Matrix(forward), pivot)


@pytest.mark.parametrize("pivot", CLASSES)
def test_pivoted_diagonals(pivot):
    rest = sum(q[c] for c in CLASSES if c != pivot)
    assert vanishes([[J[pivot, pivot] - q[pivot] * rest, L[pivot, pivot] - rest]], pivot)


def test_null_vectors():
    """A common shift changes nothing, and what comes back sums to zero."""
    assert vanishes(J * ones) and vanishes(J.T * ones) and J == J.T
    assert vanishes(L * ones) and vanishes(L.T * column)


def is_pseudo_inverse(matrix, inverse):
    """The four conditions of Penrose, with q1 written by the others."""
    matrix, inverse = (a.subs(q[0], 1 - q[1] - q[2]) for a in (matrix, inverse))
    left, right = (inverse * matrix).applyfunc(sp.cancel), (matrix * inverse).applyfunc(sp.cancel)
    conditions = (matrix * left - matrix, left * inverse - inverse, left.T - left, right.T - right)
    return all(map(vanishes, conditions))


def test_minimum_norm_solve_of_softmax():
    """J^+ = C diag(1/p) C with C = I - 1 1^T / n: centre, divide by p, centre again."""
    inverse = centre * sp.diag(*(1 / a for a in q)) * centre
    assert is_pseudo_inverse(J, inverse)
    assert not is_pseudo_inverse(J, sp.diag(*(1 / a for a in q)) * centre)


def test_minimum_norm_solve_of_log_softmax():
    """L^+ = C (I - p p^T / (p.p)): take away what lies along p, then centre."""
    along = column * column.T / column.dot(column)
    assert is_pseudo_inverse(L, centre * (sp.eye(3) - along))


def test_jacobian_is_the_covariance_of_the_chosen_class():
    """v^T J v is the variance of v under p, so J is positive semidefinite."""
    variance = sum(a * (b - column.dot(gradient)) ** 2 for a, b in zip(q, g, strict=True))
    assert vanishes(gradient.T * J * gradient - sp.Matrix([variance]))
