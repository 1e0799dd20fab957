/* The panels with a row for each class: a slider where something is chosen, and a bar or an arrow for what follows. */
"use strict";

const panels = (() => {
  const { element, byId, text, chip, choices } = dom;
  const limits = [-pageState.LIMITS.value, pageState.LIMITS.value];
  const LABEL = { x: "logit", g: "cotangent", v: "tangent" };

  /* Drawn from 0 at the left, for what is from 0 to 1. */
  function bar(i) {
    const mark = element("span", { class: `bar class${i}` });
    const root = element("div", { class: "out", "aria-hidden": "true" }, mark);
    return { root, draw: (value) => mark.style.setProperty("--length", value) };
  }

  /* Drawn from the middle, the longest to the edge. */
  function arrow(kind) {
    const mark = element("span", { class: `arrow ${kind}` });
    const root = element("div", { class: "out signed", "aria-hidden": "true" }, mark);
    function draw(value, longest) {
      mark.hidden = value === 0;
      mark.classList.toggle("left", value < 0);
      mark.style.setProperty("--length", longest > 0 ? Math.abs(value) / longest : 0);
    }
    return { root, draw };
  }

  /* into: the id of the element for the rows. input: the letter of the state that its sliders move, or null.
     results(solved): a number for each class; each becomes mark(i). meaning: that number in words. */
  function panel({ into, input, least, results, mark, meaning, update }) {
    const root = byId(into);
    let rows = [];
    let chosen = least;
    const reaches = [...new Set([least, 10, 100, 1000])].map((reach) => [reach, `±${reach}`]);
    const range = choices("Slider range", reaches, (reach) => {
      chosen = Number(reach);
      update({});
    });

    function row(state, i) {
      const name = pageState.names[i];
      const out = mark(i);
      const value = element("span", { class: "value" });
      if (!input) return { root: [chip(i), out.root, value], out, value };
      const onvalue = (next) => update((now) => ({ [input]: now[input].with(i, next) }));
      const control = sliders.slider(`${LABEL[input]} of ${name}`, limits, onvalue, `class${i}`);
      return { root: [chip(i), control.track, control.field, out.root, value], control, out, value };
    }

    function build(state) {
      rows = state.x.map((_, i) => row(state, i));
      root.replaceChildren(
        ...rows.map((made) => element("div", { class: input ? "row" : "row short" }, ...made.root)),
        ...(input ? [range.root] : []),
      );
    }

    function draw(state, solved) {
      if (rows.length !== state.x.length) build(state);
      const values = results(solved);
      const longest = Math.max(...values.map(Math.abs));
      if (input) {
        chosen = Math.max(chosen, sliders.reach(state[input], least));
        range.select.value = String(chosen);
        for (const option of range.select.options)
          option.disabled = Number(option.value) < sliders.reach(state[input], least);
      }
      rows.forEach((made, i) => {
        made.out.draw(values[i], longest);
        made.value.textContent = text(values[i]);
        const spoken = () => `${text(state[input][i])}; ${meaning} ${text(values[i])}`;
        if (input) made.control.draw(state[input][i], sliders.even(chosen), spoken());
      });
    }

    return { draw, reset: () => (chosen = least) };
  }

  function temperature(update) {
    const control = sliders.slider("temperature", pageState.LIMITS.temperature, (t) => update({ t }));
    const scale = sliders.logarithmic(...pageState.LIMITS.temperature);
    byId("temperature").replaceChildren(
      element("span", { class: "chip plain" }, "T"),
      control.track,
      control.field,
    );
    const draw = ({ t }) => control.draw(t, scale, `T = ${text(t)}`);
    return { draw };
  }

  /* The label of the cross entropy; the loss in words. */
  function loss(update) {
    const root = byId("label");
    let label = null;
    function draw(state, solved) {
      if (!label || label.select.options.length !== state.x.length) {
        const options = state.x.map((_, i) => [i, pageState.names[i]]);
        label = choices("The label is", options, (y) => update({ y: Number(y) }), { id: "y" });
        root.replaceChildren(label.root);
      }
      label.select.value = String(state.y);
      byId("loss").textContent = text(solved.loss);
    }
    return { draw };
  }

  return { panel, bar, arrow, temperature, loss };
})();
