/* A slider for mouse, touch and keys, after the pattern of the WAI-ARIA Authoring Practices, and a field for the number
   itself. */
"use strict";

const sliders = (() => {
  const { element } = dom;

  /* Evenly from -reach to reach, by a hundredth of it. */
  function even(reach) {
    const step = reach / 100;
    const tidy = (value) => Number((Math.round(value / step) * step).toPrecision(12));
    return {
      low: -reach,
      high: reach,
      part: (value) => (value + reach) / (2 * reach),
      at: (part) => tidy((2 * part - 1) * reach),
      moved: (value, steps) => tidy(value + steps * step),
    };
  }

  /* By ratios, forty steps to a factor of ten. */
  function logarithmic(low, high) {
    const decades = Math.log10(high / low);
    const tidy = (value) => Number(value.toPrecision(3));
    const part = (value) => Math.log10(value / low) / decades;
    return {
      low,
      high,
      part,
      at: (share) => tidy(low * 10 ** (share * decades)),
      moved: (value, steps) => tidy(value * 10 ** (steps / 40)),
    };
  }

  const KEYS = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 };

  /* label names it; onvalue is told of every new value. draw(value, scale, spoken) shows one. */
  function slider(label, limits, onvalue, colour = "") {
    let value, scale;
    const thumb = element("span", { class: "thumb" });
    const track = element(
      "div",
      { class: `slider ${colour}`, role: "slider", tabindex: 0, "aria-label": label },
      element("span", { class: "rail" }),
      thumb,
    );
    const field = element("input", {
      type: "number",
      step: "any",
      min: limits[0],
      max: limits[1],
      "aria-label": `${label}, as a number`,
      oninput: typed,
      onblur: () => show(true),
    });

    function typed() {
      const number = field.valueAsNumber;
      const good = number >= limits[0] && number <= limits[1];
      field.setAttribute("aria-invalid", String(!good));
      if (good) onvalue(number);
    }

    const set = (next) => onvalue(Math.min(scale.high, Math.max(scale.low, next)));

    function pointed(event) {
      const box = track.getBoundingClientRect();
      const inset = thumb.offsetWidth / 2;
      const part = (event.clientX - box.left - inset) / (box.width - 2 * inset);
      set(scale.at(Math.min(1, Math.max(0, part))));
    }

    track.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      track.setPointerCapture(event.pointerId);
      track.focus();
      pointed(event);
    });
    track.addEventListener("pointermove", (event) => {
      if (track.hasPointerCapture(event.pointerId)) pointed(event);
    });
    track.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      if (event.key in KEYS) set(scale.moved(value, KEYS[event.key]));
      else if (event.key === "Home") set(scale.low);
      else if (event.key === "End") set(scale.high);
      else return;
      event.preventDefault();
    });

    function show(left) {
      track.style.setProperty("--part", Math.min(1, Math.max(0, scale.part(value))));
      if (left || document.activeElement !== field) {
        field.value = String(value);
        field.removeAttribute("aria-invalid");
      }
    }

    function draw(next, nextScale, spoken) {
      value = next;
      scale = nextScale;
      track.setAttribute("aria-valuemin", scale.low);
      track.setAttribute("aria-valuemax", scale.high);
      track.setAttribute("aria-valuenow", value);
      track.setAttribute("aria-valuetext", spoken);
      show(false);
    }

    return { track, field, draw };
  }

  /* The smallest of these that reaches all values. */
  function reach(values, least) {
    const largest = Math.max(...values.map(Math.abs));
    return [least, 10, 100, 1000].find((limit) => limit >= least && limit >= largest);
  }

  return { slider, even, logarithmic, reach };
})();
