/* What the page shows, and how it is written in the address: #x=1,2,3&t=1&g=1,0,0&v=0,1,0&y=2 */
"use strict";

const pageState = (() => {
  const LIMITS = { classes: [2, 8], value: 1000, temperature: [0.01, 100], text: 4000 };
  const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?$/i;
  const names = [..."ABCDEFGH"];

  /* One class at i, and nothing else. */
  const oneHot = (n, i) => Array.from({ length: n }, (_, j) => (i === j ? 1 : 0));

  /* Logits with what is not said of them: T = 1, a cotangent of the first class, a tangent of the second. */
  const withDefaults = (x) => ({ x, t: 1, g: oneHot(x.length, 0), v: oneHot(x.length, 1), y: x.length - 1 });

  const initial = () => withDefaults([1, 2, 3]);

  const within = (value, [low, high]) => value >= low && value <= high;

  function number(text, limits) {
    const value = NUMBER.test(text) ? Number(text) : NaN;
    return within(value, limits) ? value : null;
  }

  function numbers(text, counts) {
    const values = text.split(",").map((part) => number(part.trim(), [-LIMITS.value, LIMITS.value]));
    return within(values.length, counts) && !values.includes(null) ? values : null;
  }

  /* The state that a fragment stands for, and what in it was not understood, which the defaults stand in for. */
  function parse(fragment) {
    const problems = [];
    const given = new URLSearchParams(fragment.replace(/^#/, "").slice(0, LIMITS.text));
    const read = (name, parser, expected) => {
      if (!given.has(name)) return null;
      const text = given.get(name);
      const value = parser(text);
      const shown = text.length > 40 ? `${text.slice(0, 40)}…` : text;
      if (value === null) problems.push(`${name}: expected ${expected}, got “${shown}”`);
      return value;
    };
    const range = `from -${LIMITS.value} to ${LIMITS.value}`;
    const x = read("x", (text) => numbers(text, LIMITS.classes), `2 to 8 numbers ${range}`);
    const state = x ? withDefaults(x) : initial();
    const n = state.x.length;
    const found = {
      t: read("t", (text) => number(text, LIMITS.temperature), "a number from 0.01 to 100"),
      g: read("g", (text) => numbers(text, [n, n]), `${n} numbers ${range}`),
      v: read("v", (text) => numbers(text, [n, n]), `${n} numbers ${range}`),
      y: read("y", (text) => (/^\d$/.test(text) && Number(text) < n ? Number(text) : null), `0 to ${n - 1}`),
    };
    for (const [name, value] of Object.entries(found)) if (value !== null) state[name] = value;
    return { state, problems };
  }

  const format = ({ x, t, g, v, y }) => `x=${x}&t=${t}&g=${g}&v=${v}&y=${y}`;

  function withClass({ x, t, g, v, y }) {
    return { x: [...x, 0], t, g: [...g, 0], v: [...v, 0], y };
  }

  function withoutClass({ x, t, g, v, y }) {
    const [left, of, along] = [x, g, v].map((values) => values.slice(0, -1));
    return { x: left, t, g: of, v: along, y: Math.min(y, left.length - 1) };
  }

  return { LIMITS, names, parse, format, initial, withDefaults, withClass, withoutClass, oneHot };
})();
