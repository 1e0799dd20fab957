/* The table of what float16 and float32 make of the formulas. */
"use strict";

const precisionView = (() => {
  const { element, byId, text, chip } = dom;
  const TYPES = [floats.float16, floats.float32];

  /* An error in words, and how bad it is. */
  function verdict(got, exact, ulps) {
    if (Number.isNaN(ulps)) return ["NaN", "bad"];
    if (exact === 0 && got !== 0) return ["not 0", "bad"];
    if (got === 0 && exact !== 0 && ulps > 0.5) return ["all digits lost", "bad"];
    if (!Number.isFinite(ulps)) return ["infinite", "bad"];
    const amount = ulps === 0 ? "0" : ulps < 0.01 ? "< 0.01" : text(Number(ulps.toPrecision(2)));
    return [`${amount} ulp`, ulps > 1000 ? "bad" : ulps > 4 ? "poor" : "good"];
  }

  function cells(compared, name, i) {
    const exact = compared.exact[name][i];
    return ["naive", "shifted"].map((way) => {
      const got = compared[way][name][i];
      const [said, grade] = verdict(got, exact, compared.type.ulps(got, exact));
      return element("td", {}, text(got), element("span", { class: `ulps ${grade}` }, said));
    });
  }

  function table(update) {
    const root = byId("precision");
    const of = byId("precision-of");
    of.addEventListener("change", () => update({}));

    function draw({ x, g, t }) {
      const compared = TYPES.map((type) => floats.compare(x, g, t, type));
      const heads = TYPES.flatMap(({ name }) => [`${name}, naive`, `${name}, shifted`]);
      const doubles = floats.compare(x, g, t, { round: (value) => value }).exact[of.value];
      root.replaceChildren(
        element(
          "thead",
          {},
          element(
            "tr",
            {},
            ...["class", "exact", ...heads].map((head) => element("th", { scope: "col" }, head)),
          ),
        ),
        element(
          "tbody",
          {},
          ...x.map((_, i) =>
            element(
              "tr",
              {},
              element("th", { scope: "row" }, chip(i)),
              element("td", {}, text(doubles[i])),
              ...compared.flatMap((one) => cells(one, of.value, i)),
            ),
          ),
        ),
      );
    }

    return { draw };
  }

  return { table };
})();
