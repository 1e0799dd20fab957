/* The calls of the Python package that give these numbers. */
"use strict";

const pythonView = (() => {
  const list = (values) => `[${values.join(", ")}]`;

  const code = ({ x, t, g, v, y }) => `import onesum

x, g, v, t = ${list(x)}, ${list(g)}, ${list(v)}, ${t}
p = onesum.softmax(x, temperature=t)
back = onesum.softmax_vjp(p, g, temperature=t)
forward = onesum.softmax_jvp(p, v, temperature=t)
jacobian = onesum.softmax_jacobian(p, temperature=t).to_dense()
loss, gradient = onesum.cross_entropy_value_and_grad(x, ${y}, temperature=t)`;

  const draw = (state) => (dom.byId("python").textContent = code(state));

  return { draw, code };
})();
