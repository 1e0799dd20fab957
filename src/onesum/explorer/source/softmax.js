/* softmax and its derivatives for one row, in double precision: the formulas of docs/derivation.md.
   Arrays in, arrays out; no part of the page is touched. tests/test_explorer_numerics.py holds every function
   against the Python package and exact arithmetic. */
"use strict";

const softmaxMath = (() => {
  const sum = (terms) => terms.reduce((total, term) => total + term, 0);

  /* The first index where the maximum is attained. */
  const pivotOf = (values) => values.indexOf(Math.max(...values));

  /* d_i = (x_i - m) / T and e_i = exp(d_i), with r = the sum of every e but the pivot's, which is 1. */
  function normalizer(x, temperature = 1) {
    const pivot = pivotOf(x);
    const d = x.map((value) => (value - x[pivot]) / temperature);
    const e = d.map(Math.exp);
    return { pivot, max: x[pivot], d, e, r: sum(e.filter((_, i) => i !== pivot)) };
  }

  function softmax(x, temperature = 1) {
    const { e, r } = normalizer(x, temperature);
    return e.map((value) => value / (1 + r));
  }

  /* Both terms have one sign: nothing cancels. */
  function logSoftmax(x, temperature = 1) {
    const { d, r } = normalizer(x, temperature);
    return d.map((value) => value - Math.log1p(r));
  }

  function logsumexp(x, temperature = 1) {
    const { max, r } = normalizer(x, temperature);
    return max / temperature + Math.log1p(r);
  }

  /* 1 - p of each class; that of the pivot is summed from the others, so that no digit is lost. */
  function complement(p) {
    const pivot = pivotOf(p);
    return p.map((value, i) => (i === pivot ? sum(p.filter((_, j) => j !== pivot)) : 1 - value));
  }

  /* J_ij = p_i (delta_ij - p_j) / T, a list of rows. */
  function jacobian(p, temperature = 1) {
    const rest = complement(p);
    return p.map((pi, i) => p.map((pj, j) => (pi * (i === j ? rest[i] : -pj)) / temperature));
  }

  /* J g in O(n), measured from the pivot: w = g - g_pivot, S = the sum of p w, which the pivot has no part in.
     J is symmetric: the same for a cotangent and for a tangent. */
  function product(p, g, temperature = 1) {
    const pivot = pivotOf(p);
    const w = g.map((value) => value - g[pivot]);
    const s = sum(p.map((value, i) => value * w[i]));
    return p.map((value, i) => (value * (w[i] - s)) / temperature);
  }

  /* -log p of the label. */
  function crossEntropy(x, label, temperature = 1) {
    return -logSoftmax(x, temperature)[label];
  }

  /* (p_i - [i = label]) / T. */
  function crossEntropyGradient(x, label, temperature = 1) {
    const { pivot, e, r } = normalizer(x, temperature);
    return e.map((value, i) => {
      const p = value / (1 + r);
      if (i !== label) return p / temperature;
      return -(i === pivot ? r / (1 + r) : 1 - p) / temperature;
    });
  }

  return {
    normalizer,
    softmax,
    logSoftmax,
    logsumexp,
    complement,
    jacobian,
    vjp: product,
    jvp: product,
    crossEntropy,
    crossEntropyGradient,
  };
})();
