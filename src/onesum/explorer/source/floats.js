/* float16 and float32, every step rounded, by way of doubles; a double has more than twice the digits of either, so
   that a sum, product or quotient rounded twice is the one rounded once. What the formulas give there, and errors in
   ulps (units in the last place). */
"use strict";

const floats = (() => {
  const bits = new DataView(new ArrayBuffer(8));

  /* The exponent of a finite number that is not 0: 2^exponent <= |value| < 2^(exponent + 1). */
  function exponent(value) {
    bits.setFloat64(0, value);
    const biased = (bits.getUint32(0) >>> 20) & 0x7ff;
    return biased ? biased - 1023 : exponent(value * 2 ** 60) - 60;
  }

  function halfToEven(value) {
    const floor = Math.floor(value);
    const rest = value - floor;
    if (rest === 0.5) return floor % 2 === 0 ? floor : floor + 1;
    return rest < 0.5 ? floor : floor + 1;
  }

  /* A type by the digits after its leading one, its smallest exponent and its largest number. */
  function type(name, digits, least, largest) {
    const spacing = (value) => 2 ** (Math.max(value === 0 ? least : exponent(value), least) - digits);

    function round(value) {
      if (value === 0 || !Number.isFinite(value)) return value;
      const unit = spacing(value);
      const rounded = halfToEven(value / unit) * unit;
      return Math.abs(rounded) > largest ? Math.sign(value) * Infinity : rounded;
    }

    /* |got - exact| in the spacing at exact; infinite where exact is 0 and got is not. */
    function ulps(got, exact) {
      if (got === exact) return 0;
      if (exact === 0) return Number.isNaN(got) ? NaN : Infinity;
      return Math.abs(got - exact) / spacing(round(exact));
    }

    return { name, round, ulps, spacing };
  }

  const float16 = type("float16", 10, -14, 65504);
  const float32 = type("float32", 23, -126, (2 - 2 ** -23) * 2 ** 127);

  /* The formulas as they are usually written: no maximum is subtracted, the logarithm is taken of what was rounded,
     the gradient is p (g - p . g). */
  function naive(x, g, temperature, { round }) {
    const e = x.map((value) => round(Math.exp(round(value / temperature))));
    const total = e.reduce((sum, value) => round(sum + value), 0);
    const p = e.map((value) => round(value / total));
    const dot = p.reduce((sum, value, i) => round(sum + round(value * g[i])), 0);
    const vjp = p.map((value, i) => round(round(value * round(g[i] - dot)) / temperature));
    return { softmax: p, logSoftmax: p.map((value) => round(Math.log(value))), vjp };
  }

  /* Those of softmax.js, no step in a wider type. */
  function shifted(x, g, temperature, { round }) {
    const pivot = x.indexOf(Math.max(...x));
    const d = x.map((value) => round(round(value - x[pivot]) / temperature));
    const e = d.map((value) => round(Math.exp(value)));
    const r = e.reduce((sum, value, i) => (i === pivot ? sum : round(sum + value)), 0);
    const p = e.map((value) => round(value / round(1 + r)));
    const w = g.map((value) => round(value - g[pivot]));
    const s = p.reduce((sum, value, i) => round(sum + round(value * w[i])), 0);
    const vjp = p.map((value, i) => round(round(value * round(w[i] - s)) / temperature));
    const log = round(Math.log1p(r));
    return { softmax: p, logSoftmax: d.map((value) => round(value - log)), vjp };
  }

  /* What both should have given: in double precision, of the arguments as the type holds them. */
  function exact(x, g, temperature) {
    const p = softmaxMath.softmax(x, temperature);
    const vjp = softmaxMath.vjp(p, g, temperature);
    return { softmax: p, logSoftmax: softmaxMath.logSoftmax(x, temperature), vjp };
  }

  /* One row of logits in one type: the arguments rounded to it, the exact results, those of both ways. */
  function compare(x, g, temperature, kind) {
    const held = [x.map(kind.round), g.map(kind.round), kind.round(temperature)];
    return {
      type: kind,
      exact: exact(...held),
      naive: naive(...held, kind),
      shifted: shifted(...held, kind),
    };
  }

  return { float16, float32, compare };
})();
