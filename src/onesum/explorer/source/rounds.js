/* "Predict, then reveal": questions whose answers are computed. draw is a source of random numbers from 0 to 1; a
   question has the state it is about, two or more choices, which of them is right, and why. */
"use strict";

const rounds = (() => {
  const { withDefaults, names, oneHot } = pageState;
  const { text } = dom;

  const whole = (draw, low, high) => low + Math.floor(draw() * (high - low + 1));
  const logits = (draw, n = 3) => Array.from({ length: n }, () => whole(draw, -30, 30) / 10);

  function shift(draw) {
    const state = withDefaults(logits(draw));
    const c = whole(draw, 2, 9);
    return {
      state,
      question: `Add ${c} to every logit. What happens to p?`,
      choices: ["Nothing", "Every p grows", "The largest p grows"],
      right: 0,
      why: "The factor e to the added number stands above and below the fraction, and cancels. So the maximum may be subtracted.",
    };
  }

  function temperature(draw) {
    const state = withDefaults([0, whole(draw, 11, 20) / 10, whole(draw, 21, 40) / 10]);
    const hot = draw() < 0.5;
    const p = [1, hot ? 2 : 0.5].map((t) => softmaxMath.softmax(state.x, t)[2]);
    return {
      state: { ...state, t: hot ? 2 : 0.5 },
      question: `At T = 1, the largest p is ${text(p[0])}. What does T = ${hot ? 2 : 0.5} make of it?`,
      choices: [`${text(p[1])}`, `${text(p[0])}, as before`, `${text(hot ? p[0] + (1 - p[0]) / 2 : p[0] / 2)}`],
      right: 0,
      why: "Logits are divided by T: high temperatures bring the probabilities nearer to each other, low ones give all to the largest.",
    };
  }

  function ratio(draw) {
    const state = withDefaults(logits(draw));
    return {
      state,
      question: "Raise the logit of B by 2. What happens to the ratio p(A) / p(C)?",
      choices: ["It stays", "It falls", "It depends on p(B)"],
      right: 0,
      why: "p(A) / p(C) is e to x(A) − x(C): B takes from both in proportion.",
    };
  }

  function constant(draw) {
    const state = { ...withDefaults(logits(draw)), g: [1, 1, 1] };
    return {
      state,
      question: "The cotangent is 1 for every class. What is the gradient dL/dx?",
      choices: ["0 for every class", "p", "p (1 − p)"],
      right: 0,
      why: "L is then the sum of the probabilities, which is 1 whatever the logits are.",
    };
  }

  function gradientSign(draw) {
    const state = { ...withDefaults(logits(draw)), g: oneHot(3, 0) };
    const j = whole(draw, 1, 2);
    return {
      state,
      question: `L = p(A). Raise the logit of ${names[j]} a little. What does L do?`,
      choices: ["It falls", "It rises", "It stays"],
      right: 0,
      why: `∂p(A)/∂x(${names[j]}) = −p(A) p(${names[j]}), which is below 0: no two classes gain at once.`,
    };
  }

  function crossEntropy(draw) {
    const state = withDefaults(logits(draw));
    const y = whole(draw, 0, 2);
    const sizes = softmaxMath.crossEntropyGradient(state.x, y).map(Math.abs);
    return {
      state: { ...state, y },
      question: `The label is ${names[y]}. For which class is the gradient of the cross entropy longest?`,
      choices: [0, 1, 2].map((i) => names[i]),
      right: sizes.indexOf(Math.max(...sizes)),
      why: "The gradient is p − y: at the label it is as long as all others together, for it sums to 0.",
    };
  }

  function overflow(draw) {
    const state = withDefaults([0, 5, whole(draw, 12, 20)]);
    const big = floats.compare(state.x, state.g, 1, floats.float16).naive.softmax[2];
    return {
      state,
      question: `Without subtracting the maximum, what is p(C) for x(C) = ${state.x[2]} in float16?`,
      choices: [text(big), "1", "0.9990"],
      right: 0,
      why: "The largest float16 is 65504: above 11.09 the exponential is infinite, and infinity over infinity is NaN.",
    };
  }

  function smallComponent(draw) {
    const top = whole(draw, 20, 60);
    const state = { ...withDefaults([top, 0]), g: [1, 0] };
    const exact = floats.compare(state.x, state.g, 1, floats.float32).exact.vjp[0];
    return {
      state,
      question: `x = ${top}, 0 and g = 1, 0 in float32. What does p (g − p·g) give for A?`,
      choices: ["0", text(exact), text(-exact)],
      right: 0,
      why: `p(A) is rounded to 1, and 1 − 1 is 0; measured from the largest class the gradient is ${text(exact)}.`,
    };
  }

  const kinds = [shift, ratio, temperature, gradientSign, constant, crossEntropy, overflow, smallComponent];

  /* The choices in an order of their own, so that the right one is anywhere. */
  function shuffled(round, draw) {
    const order = round.choices.map((_, k) => [draw(), k]).sort(([a], [b]) => a - b);
    const choices = order.map(([, k]) => round.choices[k]);
    return { ...round, choices, right: order.findIndex(([, k]) => k === round.right) };
  }

  const round = (number, draw = Math.random) => shuffled(kinds[number % kinds.length](draw), draw);

  return { round, kinds: kinds.length };
})();
