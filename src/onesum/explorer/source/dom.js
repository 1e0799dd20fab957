/* Elements, and numbers as text. No string is ever read as HTML. */
"use strict";

const dom = (() => {
  const SPACES = { svg: "http://www.w3.org/2000/svg", math: "http://www.w3.org/1998/Math/MathML" };

  function fill(made, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children);
    return made;
  }

  const element = (tag, attributes = {}, ...children) =>
    fill(document.createElement(tag), attributes, children);
  const svg = (tag, attributes = {}, ...children) =>
    fill(document.createElementNS(SPACES.svg, tag), attributes, children);
  const math = (tag, attributes = {}, ...children) =>
    fill(document.createElementNS(SPACES.math, tag), attributes, children);

  const byId = (id) => document.getElementById(id);

  /* Four digits, with a minus sign that is as wide as a plus. */
  function text(value) {
    if (Number.isNaN(value)) return "NaN";
    if (!Number.isFinite(value)) return value < 0 ? "−∞" : "∞";
    const size = Math.abs(value);
    const short = size === 0 || (size >= 1e-3 && size < 1e5);
    const digits = short ? String(Number(value.toPrecision(4))) : value.toExponential(2);
    return digits.replace("e+", "e").replaceAll("-", "−");
  }

  /* A list of choices, the value of one of them chosen. */
  function choices(label, options, onchoose, attributes = {}) {
    const select = element("select", { ...attributes, onchange: () => onchoose(select.value) });
    select.append(...options.map(([value, name]) => element("option", { value }, name)));
    return { root: element("label", { class: "choice" }, `${label} `, select), select };
  }

  /* The name of a class, in its colour. */
  const chip = (i) => element("span", { class: `chip class${i}` }, pageState.names[i]);

  return { element, svg, math, byId, text, choices, chip };
})();
