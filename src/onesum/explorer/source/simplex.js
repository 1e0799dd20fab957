/* Three classes: the triangle of all p, with a vector field over it, where p is, and J g and J v there. */
"use strict";

const simplexView = (() => {
  const { svg, byId, text } = dom;
  const CORNERS = [[20, 304], [380, 304], [200, 304 - 180 * Math.sqrt(3)]];
  const PARTS = 10; // of a side, between points of the field
  const LEAST = 1e-4; // p that dragging leaves every class

  /* p, or a direction in which p moves, in the plane. */
  const place = (weights) =>
    [0, 1].map((axis) => weights.reduce((sum, w, i) => sum + w * CORNERS[i][axis], 0));

  /* The way back: the weights of the corners at a point. */
  function weights([px, py]) {
    const [[ax, ay], [bx, by], [cx, cy]] = CORNERS;
    const area = (by - cy) * (ax - cx) + (cx - bx) * (ay - cy);
    const a = ((by - cy) * (px - cx) + (cx - bx) * (py - cy)) / area;
    const b = ((cy - ay) * (px - cx) + (ax - cx) * (py - cy)) / area;
    return [a, b, 1 - a - b];
  }

  function gridOfPoints() {
    const points = [];
    for (let i = 1; i < PARTS; i++)
      for (let j = 1; j < PARTS - i; j++) points.push([i, j, PARTS - i - j].map((k) => k / PARTS));
    return points;
  }

  const FIELDS = {
    gradient: ({ g, t }) => (p) => softmaxMath.vjp(p, g, t),
    tangent: ({ v, t }) => (p) => softmaxMath.jvp(p, v, t),
    descent: ({ y, t }) => (p) => p.map((value, i) => ((i === y ? 1 : 0) - value) / t),
  };

  function arrow([x, y], [dx, dy], kind) {
    const length = Math.hypot(dx, dy);
    const made = svg("g", { class: `vector ${kind}` });
    if (length < 0.5) return made;
    const head = Math.min(kind === "field" ? 5 : 10, length);
    const [ux, uy] = [dx / length, dy / length];
    const [tx, ty] = [x + dx, y + dy];
    const [bx, by] = [tx - ux * head, ty - uy * head];
    const half = head / 2;
    const corners = [[tx, ty], [bx - uy * half, by + ux * half], [bx + uy * half, by - ux * half]];
    made.append(
      svg("line", { x1: x, y1: y, x2: bx, y2: by }),
      svg("polygon", { points: corners.join(" ") }),
    );
    return made;
  }

  /* Directions as arrows, the longest of them as long as wanted. */
  function scaled(directions, wanted) {
    const inPlane = directions.map(place);
    const longest = Math.max(...inPlane.map((d) => Math.hypot(...d)));
    const factor = longest > 1e-300 ? wanted / longest : 0;
    return inPlane.map((d) => d.map((value) => value * factor));
  }

  function simplex(update) {
    const root = byId("simplex");
    const points = gridOfPoints();
    const field = svg("g");
    const now = svg("g");
    const dot = svg("circle", { class: "dot", r: 8 });
    root.append(
      svg("polygon", { class: "triangle", points: CORNERS.join(" ") }),
      ...CORNERS.map(([x, y], i) => {
        const [dx, dy] = [[-6, 22], [6, 22], [0, -12]][i];
        const at = { x: x + dx, y: y + dy, "text-anchor": "middle" };
        return svg("text", at, `p(${pageState.names[i]}) = 1`);
      }),
      field,
      now,
      dot,
    );
    const kind = byId("field");
    kind.addEventListener("change", () => update({}));

    /* p is what was pointed at; the logits keep their mean. */
    function pointed(event) {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(root.getScreenCTM().inverse());
      const raw = weights([at.x, at.y]).map((w) => Math.max(w, LEAST));
      const total = raw.reduce((sum, w) => sum + w);
      update(({ x, t }) => {
        const logs = raw.map((w) => t * Math.log(w / total));
        const shift = (x.reduce((a, b) => a + b) - logs.reduce((a, b) => a + b)) / 3;
        const limit = pageState.LIMITS.value;
        const digits = t < 1 ? 4 : 2; // x / T to some hundredths
        return { x: logs.map((l) => Number(Math.max(-limit, Math.min(limit, l + shift)).toFixed(digits))) };
      });
    }
    /* A finger in the triangle moves p, and beside it the page; touch-action has no effect within an SVG. */
    const held = (event) => event.target !== root && event.preventDefault();
    root.addEventListener("touchstart", held, { passive: false });
    root.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      if (event.pointerType === "touch" && event.target === root) {
        root.releasePointerCapture(event.pointerId);
        return;
      }
      root.setPointerCapture(event.pointerId);
      pointed(event);
    });
    root.addEventListener("pointermove", (event) => {
      if (root.hasPointerCapture(event.pointerId)) pointed(event);
    });

    function draw(state, { p, vjp, jvp }) {
      const three = state.x.length === 3;
      byId("simplex-shown").hidden = !three;
      byId("simplex-not-shown").hidden = three;
      if (!three) return;
      const direction = FIELDS[kind.value](state);
      const arrows = scaled(points.map(direction), 26);
      field.replaceChildren(...points.map((at, i) => arrow(place(at), arrows[i], "field")));
      const at = place(p);
      const [back] = scaled([vjp], 60);
      const [forward] = scaled([jvp], 60);
      now.replaceChildren(arrow(at, back, "vjp"), arrow(at, forward, "jvp"));
      dot.setAttribute("cx", at[0]);
      dot.setAttribute("cy", at[1]);
      const where = p.map((value, i) => `${text(value)} for ${pageState.names[i]}`).join(", ");
      root.setAttribute("aria-label", `The triangle of all probabilities; p is ${where}`);
    }

    return { draw };
  }

  return { simplex };
})();
