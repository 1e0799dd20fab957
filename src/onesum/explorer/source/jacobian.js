/* The Jacobian as a heat map: a table, whose colours say no more than its numbers. */
"use strict";

const jacobianView = (() => {
  const { element, byId, text, chip } = dom;

  function heatMap(choose) {
    const root = byId("jacobian");

    function cell(value, largest, i, j, chosen) {
      const strength = largest > 0 ? Math.round((50 * Math.abs(value)) / largest) : 0;
      const made = element("td", { class: value < 0 ? "negative" : "positive" }, text(value));
      made.style.setProperty("--strength", `${strength}%`);
      made.classList.toggle("chosen", chosen.i === i && chosen.j === j);
      made.addEventListener("click", () => choose(i, j));
      return made;
    }

    function draw(state, { jacobian }, chosen) {
      const largest = Math.max(...jacobian.flat().map(Math.abs));
      const head = state.x.map((_, j) => element("th", { scope: "col" }, "∂x", chip(j)));
      const body = jacobian.map((row, i) =>
        element(
          "tr",
          {},
          element("th", { scope: "row" }, "∂p", chip(i)),
          ...row.map((value, j) => cell(value, largest, i, j, chosen)),
        ),
      );
      root.closest("section").classList.toggle("wide", state.x.length !== 3); // without the simplex there are four others
      root.style.setProperty("--classes", state.x.length);
      root.replaceChildren(
        element("thead", {}, element("tr", {}, element("td"), ...head)),
        element("tbody", {}, ...body),
      );
    }

    return { draw };
  }

  return { heatMap };
})();
