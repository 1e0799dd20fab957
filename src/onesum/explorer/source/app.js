/* The page: one state, from which everything is drawn; the address follows it. */
"use strict";

(() => {
  const { byId } = dom;
  const EXAMPLES = {
    "": null,
    "three classes": "x=1,2,3",
    "all equal": "x=0,0,0,0",
    "next to certain": "x=40,0&g=1,0",
    "float16 overflows": "x=0,6,12",
    "float32 overflows": "x=0,50,100",
    "nearly one class": "x=10,0,0&g=0,1,0",
    "eight classes": "x=-2,-1,0,1,2,1,0,-1&g=1,-1,1,-1,1,-1,1,-1",
  };
  /* Within a notebook (iframe srcdoc) there is no address to write to: the state came with the page. */
  const hasAddress = location.protocol !== "about:";
  const chosen = { i: 0, j: 1 };
  let state, written, views, frame, timer;

  function solve({ x, t, g, v, y }) {
    const p = softmaxMath.softmax(x, t);
    return {
      normalizer: softmaxMath.normalizer(x, t),
      p,
      logp: softmaxMath.logSoftmax(x, t),
      jacobian: softmaxMath.jacobian(p, t),
      vjp: softmaxMath.vjp(p, g, t),
      jvp: softmaxMath.jvp(p, v, t),
      loss: softmaxMath.crossEntropy(x, y, t),
      gradient: softmaxMath.crossEntropyGradient(x, y, t),
    };
  }

  function draw() {
    frame = null;
    chosen.i = Math.min(chosen.i, state.x.length - 1);
    chosen.j = Math.min(chosen.j, state.x.length - 1);
    const solved = solve(state);
    for (const view of views) view.draw(state, solved, chosen);
    const [fewest, most] = pageState.LIMITS.classes;
    byId("remove").disabled = state.x.length === fewest;
    byId("add").disabled = state.x.length === most;
  }

  /* A change, or a function from the state to one. */
  function update(change) {
    state = { ...state, ...(typeof change === "function" ? change(state) : change) };
    frame ??= requestAnimationFrame(draw);
    clearTimeout(timer);
    timer = setTimeout(write, 150); // browsers refuse hundreds of addresses in a minute
  }

  function write() {
    const text = pageState.format(state);
    if (!hasAddress || text === written) return;
    written = text;
    history.replaceState(null, "", `#${text}`);
  }

  function load(next) {
    for (const view of views) view.reset?.();
    update(next);
  }

  function read(fragment) {
    const { state: next, problems } = pageState.parse(fragment);
    byId("problems").textContent = problems.length ? `Not understood in the address: ${problems.join("; ")}.` : "";
    load(next);
  }

  function choose(i, j) {
    if (i !== null) chosen.i = i;
    if (j !== null) chosen.j = j;
    update({});
  }

  async function copyLink() {
    write();
    try {
      await navigator.clipboard.writeText(location.href);
      byId("copied").textContent = "Copied.";
    } catch {
      byId("copied").textContent = "Copy it from the address bar.";
    }
    setTimeout(() => (byId("copied").textContent = ""), 4000);
  }

  function controls() {
    const theme = byId("theme");
    theme.addEventListener("change", () => (document.documentElement.dataset.theme = theme.value));
    const examples = byId("examples");
    examples.append(...Object.keys(EXAMPLES).map((name) => new Option(name || "Choose…", name)));
    examples.addEventListener("change", () => {
      if (EXAMPLES[examples.value]) read(EXAMPLES[examples.value]);
      examples.value = "";
    });
    byId("add").addEventListener("click", () => update(pageState.withClass));
    byId("remove").addEventListener("click", () => update(pageState.withoutClass));
    byId("link").hidden = !hasAddress;
    byId("link").addEventListener("click", copyLink);
    addEventListener("hashchange", () => {
      if (location.hash.slice(1) !== written) read(location.hash);
    });
  }

  const { panel, bar, arrow, temperature, loss } = panels;
  views = [
    panel({ into: "logits", input: "x", least: 10, results: (s) => s.p, mark: bar, meaning: "probability", update }),
    temperature(update),
    panel({ into: "back", input: "g", least: 3, results: (s) => s.vjp, mark: () => arrow("vjp"), meaning: "gradient", update }),
    panel({ into: "forward", input: "v", least: 3, results: (s) => s.jvp, mark: () => arrow("jvp"), meaning: "change of p", update }),
    panel({ into: "losses", input: null, results: (s) => s.gradient, mark: () => arrow("loss") }),
    loss(update),
    simplexView.simplex(update),
    jacobianView.heatMap(choose),
    formulasView.formulas(choose),
    precisionView.table(update),
    pythonView,
  ];
  controls();
  quizView.quiz((shown) => {
    load(shown);
    byId("logits").closest("section").scrollIntoView();
  });
  read(location.hash || document.documentElement.dataset.state);
  draw(); // at once: the first paint has everything
})();
