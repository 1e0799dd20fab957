/* The formulas, with the numbers put in, as MathML. */
"use strict";

const formulasView = (() => {
  const { element, math, byId, text, choices } = dom;
  const { names } = pageState;

  const i = (name) => math("mi", {}, name);
  const o = (sign) => math("mo", {}, sign);
  const n = (value) => math("mn", {}, text(value));
  const row = (...parts) => math("mrow", {}, ...parts);
  const sub = (name, index) => {
    const [base, below] = [name, index].map((part) => (typeof part === "string" ? i(part) : part));
    return math("msub", {}, base, below);
  };
  const frac = (over, under) => math("mfrac", {}, over, under);
  const power = (exponent) => math("msup", {}, i("e"), exponent);
  /* A function of what follows it. */
  const fn = (name) => row(i(name), math("mspace", { width: "0.17em" }));
  const par = (...parts) => row(o("("), ...parts, o(")"));
  /* (x - m) / T, on one line. */
  const shifted = (x) => row(par(x, o("−"), i("m")), o("/"), i("T"));
  const partial = (what, by) => frac(row(o("∂"), what), row(o("∂"), by));
  /* A number within a product or difference: in parentheses where it has a sign. */
  const factor = (value) => (value < 0 || Object.is(value, -0) ? par(n(value)) : n(value));

  function joined(terms, sign) {
    return row(...terms.flatMap((term, k) => (k ? [o(sign), term] : [term])));
  }

  /* Steps of an equation, which a line break may separate. */
  function equation(title, ...steps) {
    const parts = steps.map((step, k) => {
      const written = math("math", { displaystyle: "true" }, row(...(k ? [o("=")] : []), step));
      return element("span", { class: "step" }, written);
    });
    return [element("dt", {}, title), element("dd", {}, ...parts.flatMap((part) => [part, " "]))];
  }

  function over(t, ...parts) {
    return t === 1 ? row(...parts) : frac(row(...parts), n(t));
  }

  function lines(state, s, a, b) {
    const { x, t, g, v, y } = state;
    const [A, B, Y] = [names[a], names[b], names[y]];
    const m = s.normalizer.max;
    const exponent = (k) => {
      const difference = row(n(x[k]), o("−"), factor(m));
      return t === 1 ? difference : row(par(difference), o("/"), n(t));
    };
    const { pivot, r } = s.normalizer;
    const total = () => row(n(1), o("+"), n(r));
    /* 1 - p; of the largest class the sum of the others, as it is computed. */
    const rest = (k) =>
      k === pivot ? par(joined(s.p.filter((_, j) => j !== k).map(n), "+")) : par(n(1), o("−"), n(s.p[k]));
    /* A cotangent or tangent measured from that of the largest class, and its mean. */
    const from = (u) => u.map((value) => value - u[pivot]);
    const mean = (w) => s.p.reduce((sum, p, k) => sum + p * w[k], 0);
    const product = (u, result) => {
      const w = from(u);
      return [over(t, n(s.p[a]), par(factor(w[a]), o("−"), factor(mean(w)))), n(result[a])];
    };
    const measured = (u) => {
      const w = from(u);
      const terms = w.map((value, k) => [value, k]).filter(([, k]) => k !== pivot);
      const written = terms.map(([value, k]) => row(n(s.p[k]), o("·"), factor(value)));
      return [row(i("S"), o("="), sub(o("∑"), "j"), sub("p", "j"), sub("w", "j")), joined(written, "+"), n(mean(w))];
    };
    const large = names[pivot];
    return [
      ...equation("The maximum", row(i("m"), o("="), fn("max"), i("x")), n(m)),
      ...equation(
        `The probability of ${A}`,
        row(sub("p", A), o("="), frac(power(shifted(sub("x", A))), row(sub(o("∑"), "j"), power(shifted(sub("x", "j")))))),
        frac(power(exponent(a)), joined(x.map((_, k) => power(exponent(k))), "+")),
        frac(n(s.normalizer.e[a]), total()),
        n(s.p[a]),
      ),
      ...equation(
        "Its logarithm",
        row(fn("log"), sub("p", A), o("="), frac(row(sub("x", A), o("−"), i("m")), i("T")), o("−"), fn("log"), par(n(1), o("+"), i("r"))),
        row(n(s.normalizer.d[a]), o("−"), fn("log"), par(total())),
        n(s.logp[a]),
      ),
      ...equation(
        `The Jacobian at ${A}, ${B}`,
        row(partial(sub("p", A), sub("x", B)), o("="), frac(row(sub("p", A), par(sub("δ", row(i(A), i(B))), o("−"), sub("p", B))), i("T"))),
        over(t, n(s.p[a]), a === b ? rest(a) : par(n(0), o("−"), n(s.p[b]))),
        n(s.jacobian[a][b]),
      ),
      ...equation(`The mean of w = g − g(${large})`, ...measured(g)),
      ...equation(
        "The gradient (VJP)",
        row(partial(i("L"), sub("x", A)), o("="), frac(row(sub("p", A), par(sub("g", A), o("−"), i("p"), o("·"), i("g"))), i("T"))),
        frac(row(sub("p", A), par(sub("w", A), o("−"), i("S"))), i("T")),
        ...product(g, s.vjp),
      ),
      ...equation(`The mean of w = v − v(${large})`, ...measured(v)),
      ...equation(
        "The change along v (JVP)",
        row(o("d"), sub("p", A), o("="), frac(row(sub("p", A), par(sub("v", A), o("−"), i("p"), o("·"), i("v"))), i("T"))),
        frac(row(sub("p", A), par(sub("w", A), o("−"), i("S"))), i("T")),
        ...product(v, s.jvp),
      ),
      ...equation(
        `The cross entropy of label ${Y}`,
        row(i("L"), o("="), o("−"), fn("log"), sub("p", Y)),
        row(fn("log"), par(total()), o("−"), factor(s.normalizer.d[y])),
        n(s.loss),
      ),
      ...equation(
        "Its gradient",
        row(partial(i("L"), sub("x", A)), o("="), frac(row(sub("p", A), o("−"), sub("δ", row(i(A), i(Y)))), i("T"))),
        a === y ? over(t, o("−"), rest(a)) : over(t, n(s.p[a]), o("−"), n(0)),
        n(s.gradient[a]),
      ),
    ];
  }

  function formulas(choose) {
    const root = byId("formulas");
    const selects = byId("of");
    let first, second;

    function draw(state, solved, chosen) {
      if (!first || first.select.options.length !== state.x.length) {
        const options = state.x.map((_, k) => [k, names[k]]);
        first = choices("Class", options, (k) => choose(Number(k), null), { id: "of-i" });
        second = choices("by the logit of", options, (k) => choose(null, Number(k)), { id: "of-j" });
        selects.replaceChildren(first.root, second.root);
      }
      first.select.value = String(chosen.i);
      second.select.value = String(chosen.j);
      root.replaceChildren(...lines(state, solved, chosen.i, chosen.j));
    }

    return { draw };
  }

  return { formulas };
})();
