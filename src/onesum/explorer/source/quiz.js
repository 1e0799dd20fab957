/* The rounds on the page: a question, an answer, what is so, and the state to look at. */
"use strict";

const quizView = (() => {
  const { element, byId } = dom;

  function quiz(load) {
    const root = byId("quiz");
    const score = { number: 0, right: 0 };

    function ask() {
      const round = rounds.round(score.number);
      const said = element("p", { class: "said", role: "status" });
      const buttons = round.choices.map((choice, k) =>
        element("button", { type: "button", onclick: () => answer(round, k, buttons, said) }, choice),
      );
      root.replaceChildren(
        element("p", { class: "question" }, `${score.number + 1}. ${round.question}`),
        element("p", { class: "given" }, `x = ${round.state.x.join(", ")}`),
        element("div", { class: "buttons", role: "group", "aria-label": "Your prediction" }, ...buttons),
        said,
      );
    }

    function answer(round, chosen, buttons, said) {
      if (said.textContent) return; // answered already
      const right = chosen === round.right;
      score.number += 1;
      score.right += right;
      buttons.forEach((button, k) => {
        button.setAttribute("aria-disabled", "true");
          if (k === round.right) button.classList.add("right");
        if (k === chosen && !right) button.classList.add("wrong");
      });
      said.textContent =
        `${right ? "Right." : `Not so: “${round.choices[round.right]}”.`} ${round.why} ` +
        `${score.right} of ${score.number} right.`;
      const next = element("button", { type: "button", class: "next", onclick: again }, "Next");
      const show = element("button", { type: "button", onclick: () => load(round.state) }, "Show it above");
      root.append(element("div", { class: "buttons" }, next, show));
      next.focus();
    }

    function again() {
      ask();
      root.querySelector("button").focus();
    }

    ask();
  }

  return { quiz };
})();
