# mypy: allow-untyped-defs, allow-untyped-calls
"""Each function on classes that come in chunks: a state of every chunk, which merge
(`chunk_sums.py`), and what becomes of a chunk under the state of all.

Of a chunk are given its arrays, as `protocol.py` has them, and `start`, how many classes come
before it. States keep the axis with size 1.
"""

from ..._library import device, finish, namespace, quiet, select, widen
from ..registry import backend_of
from . import chunks, words
from .chunk_sums import Normalizer, Pivot, Signed, mean, product
from .forward import signed_sum
from .normalizer import either, exact, fill, over, pivot_of, shared

# --- the states of a chunk ---------------------------------------------------------------------


def normalizer(start, x, axis, where, temperature):
    xp = namespace(x)
    parts = backend_of(x).normalizer(x, axis, where, temperature)
    m, r, r_lo = (xp.expand_dims(a, axis=axis) for a in parts)
    return Normalizer(m, (r, r_lo), None, temperature)


def pivoted(start, x, axis, where, temperature):
    """The normalizer, and its pivot."""
    xp, of = namespace(x), normalizer(start, x, axis, where, temperature)
    index = chunks.pivot_index(x, axis, where, xp.squeeze(of.m, axis=axis))
    index = xp.expand_dims(index, axis=axis)
    return of._replace(index=select(xp, index < 0, -1, index + start))


@quiet
def pivot(start, x, axis, where):
    """The pivot alone."""
    xp = namespace(x)
    m = xp.max(fill(xp, where, x, -xp.inf), axis=axis)
    index = chunks.pivot_index(x, axis, where, m)
    m, index = (xp.expand_dims(a, axis=axis) for a in (m, index))
    return Pivot(m, select(xp, index < 0, -1, index + start))


@quiet
def mean_logit(start, x, axis, where, temperature):
    """The mean of -x / T, of which the entropy is made."""
    of = pivoted(start, x, axis, where, temperature)
    xp, x = widen(x)
    x = fill(xp, where, x, -xp.inf)
    _, p = of.probabilities(x)
    u = words.negative(over(xp, exact(xp, x), temperature))
    return mean(xp, of, p, is_at(xp, x, of.index, start, axis), u, axis)


@quiet
def mean_tangent(start, x, v, axis, where, temperature):
    """The mean of v / T."""
    of = pivoted(start, x, axis, where, temperature)
    xp, x, v = widen(x, v)
    x = fill(xp, where, x, -xp.inf)
    _, p = of.probabilities(x)
    v, down = shared(xp, select(xp, x == -xp.inf, 0.0, v), axis, temperature)
    return mean(xp, of, p, is_at(xp, x, of.index, start, axis), v, axis, down, centre=False)


@quiet
def signed(start, x, b, axis, where, temperature):
    xp, x, b = widen(x, b)
    size, top, weight, r, split = signed_sum(xp, x, b, axis, where, temperature)
    return Signed(size, top, weight, r, split, temperature)


@quiet
def product_of_p(start, p, g, axis, temperature):
    """What the products with the Jacobian of softmax need; those of the diagonal no g."""
    xp, p = widen(p)
    return _product(xp, p, (exact(xp, p), xp.ones_like(p)), p != 0.0, g, axis, temperature, start)


@quiet
def product_of_logp(start, logp, g, axis, temperature):
    xp, logp = widen(logp)
    p = words.scaled_exp(xp, exact(xp, logp))
    return _product(xp, logp, p, logp != -xp.inf, g, axis, temperature, start)


def _product(xp, given, p, live, g, axis, temperature, start):
    top, pivot = pivot_of(xp, given, axis)
    g = given * 0.0 if g is None else widen(g)[1]
    g, down = shared(xp, select(xp, live | xp.isnan(top), g, 0.0), axis, temperature)
    index = chunks.pivot_index(given, axis, None, xp.squeeze(top, axis=axis))
    index = xp.expand_dims(index, axis=axis) + start  # of nothing but -inf any will do
    return product(xp, top, pivot, index, p, g, axis, down)


# --- what becomes of a chunk -------------------------------------------------------------------


def softmax(state, start, x, axis, where, temperature, dtype):
    scale = chunks.share(state.r)
    return backend_of(x).shifted_exp(x, axis, where, temperature, state.m, scale, dtype, None)


def log_softmax(state, start, x, axis, where, temperature, dtype):
    rest = chunks.log_rest(state.r)
    return backend_of(x).shifted_logits(x, axis, where, temperature, state.m, rest, dtype, None)


@quiet
def logsumexp_vjp(state, start, x, g, axis, where, temperature, dtype):
    xp, x, g = widen(x, g)
    x = fill(xp, where, x, -xp.inf)
    _, p = state.probabilities(x)
    g, down = shared(xp, g, axis, temperature)
    result = words.rounded(xp, words.times(xp, p, g)) / down
    lost = (p[0][0] == 0.0) | (state.m == -xp.inf)
    result = fill(xp, where, select(xp, lost, 0.0, result), 0.0)
    return finish(xp, result, dtype, None)


@quiet
def softmax_vjp(state, start, p, g, axis, temperature, dtype):
    xp, p, g = widen(p, g)
    live = (p != 0.0) | xp.isnan(state.top)
    w = _centred(xp, state, live, g, temperature)
    result = words.rounded(xp, words.times(xp, (exact(xp, p), xp.ones_like(p)), w)) / state.down
    return finish(xp, select(xp, live, result, 0.0), dtype, None)


@quiet
def log_softmax_jvp(state, start, logp, v, axis, temperature, dtype):
    xp, logp, v = widen(logp, v)
    live = (logp != -xp.inf) | xp.isnan(state.top)
    result = words.rounded(xp, _centred(xp, state, live, v, temperature)) / state.down
    return finish(xp, select(xp, live, result, 0.0), dtype, None)


@quiet
def log_softmax_vjp(state, start, logp, g, axis, temperature, dtype):
    xp, logp, g = widen(logp, g)
    top, pivot = state.top, is_at(xp, logp, state.index, start, axis)
    live = (logp != -xp.inf) | xp.isnan(top)
    p = words.scaled_exp(xp, exact(xp, logp))
    g = over(xp, exact(xp, select(xp, live, g, 0.0) * state.down), temperature)
    kept = words.times(xp, state.p_others, state.g)
    kept = either(xp, state.p_others[0][0] != 0.0, kept, (0.0, 0.0))
    keeps = either(xp, pivot, kept, g)
    takes = either(xp, pivot, state.g_others, words.add(state.g_others, state.g))
    result = words.add(keeps, words.negative(words.times(xp, p, takes)))
    result = words.rounded(xp, result) / state.down
    result = xp.where(xp.isnan(top), top, result)
    return finish(xp, select(xp, live, result, 0.0), dtype, None)


def _centred(xp, state, live, g, temperature):
    """w - S."""
    g = over(xp, exact(xp, select(xp, live, g, 0.0) * state.down), temperature)
    return words.add(words.add(g, words.negative(state.g)), words.negative(state.s))


@quiet
def softmax_diagonal(state, start, p, axis, temperature, dtype):
    xp, p = widen(p)
    pivot = is_at(xp, p, state.index, start, axis)
    complement = either(xp, pivot, words.plain(state.p_others), words.two_sum(1.0, -p))
    result = words.multiply(xp, exact(xp, p), over(xp, complement, temperature))
    result = words.rounded(xp, result)
    return finish(xp, xp.where(xp.isnan(state.top), state.top, result), dtype, None)


@quiet
def log_softmax_diagonal(state, start, logp, axis, temperature, dtype):
    xp, logp = widen(logp)
    pivot = is_at(xp, logp, state.index, start, axis)
    one = over(xp, exact(xp, xp.ones_like(state.top)), temperature)
    others = words.rounded(xp, words.times(xp, state.p_others, one))
    complement = words.rounded(xp, over(xp, exact(xp, -xp.expm1(logp)), temperature))
    result = select(xp, logp == -xp.inf, 0.0, xp.where(pivot, others, complement))
    return finish(xp, xp.where(xp.isnan(state.top), state.top, result), dtype, None)


# --- what the state alone says, with size 1 along the axis --------------------------------------


def parts(state):
    return state.m, *state.r


def index(state):
    return state.index


def logsumexp(state, dtype):
    value = chunks.log_sum(state.m, state.r, state.temperature)
    return _finished(words.rounded(namespace(state.m), value), dtype)


@quiet
def logsumexp_jvp(state, dtype):
    xp = namespace(state.down)
    value = words.rounded(xp, state.value()) / state.down
    return _finished(select(xp, state.of.m == -xp.inf, 0.0, value), dtype)


def signed_logsumexp(state, dtype):
    return tuple(_finished(a, dtype) for a in state.value())


@quiet
def entropy(state, left, dtype):
    """log1p(r) and the mean of (m - x) / T. `left`: whether a row has classes, None if all do."""
    xp, m = namespace(state.of.m), state.of.m
    value = words.rounded(xp, words.add(chunks.log_rest(state.of.r), state.centred))
    nothing = m + xp.inf if left is None else select(xp, left, xp.nan, 0.0 * state.down)
    return _finished(xp.where(m == -xp.inf, nothing, value), dtype)


def _finished(a, dtype):
    return finish(namespace(a), a, dtype, None)


# --- the parts that they share -----------------------------------------------------------------


def is_at(xp, x, index, start, axis):
    """Which class of a chunk has this number among all."""
    classes = xp.arange(x.shape[axis], dtype=index.dtype, device=device(x)) + start
    return xp.reshape(classes, (-1,) + (1,) * (x.ndim - 1 - axis)) == index
