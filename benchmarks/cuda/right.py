"""What is checked on a device: every function, against the references of the tests.

A check makes answers on a lane, each with the budget that it is judged by and the exact result.
"""

import functools
import operator
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..accuracy import largest  # which knows where the references are
from .lanes import Lane

import oracle  # isort: skip
import oracle_losses  # isort: skip
from measure import excess, smallest_normal  # isort: skip
from oracle import WIDE, Reference  # isort: skip
from rows import FUNCTIONS, KINDS, MASKABLE, arguments, logits  # isort: skip

Answers = list[tuple[str, Any, Reference]]
ROWS, CLASSES, LONG, FEATURES = 16, 40, 50_000, 8
# Where p is below the least number of float32, only what has wider numbers keeps its logarithm.
OF_LOSSES = ("spread 3", "uniform", "gaps", "offset")
CUTS = (slice(0, 15), slice(15, 40), slice(40, 40))


class Check(NamedTuple):
    function: str
    note: str
    answers: Callable[[Lane], Answers]
    # The function's name and its operands, where there is nothing beside: libraries may have it.
    own: tuple[str, tuple[np.ndarray, ...], list[tuple[str, Reference]]] | None = None


def checks(lane: Lane, dtype: str, quick: bool) -> Iterator[Check]:
    kinds = ("spread 3",) if quick or lane.compiles else tuple(KINDS)
    for kind in kinds:
        yield from of_functions(kind, ROWS, CLASSES, dtype, quick or lane.compiles)
    if not quick:
        yield from of_functions("spread 3", 2, LONG, dtype, True)
    for kind in kinds:
        if kind in OF_LOSSES or (dtype == "float64" and kind != "constant"):
            yield from of_losses(kind, dtype, quick or lane.compiles)
            yield from of_information(kind, dtype)
    if not lane.compiles:
        yield from of_jacobians(dtype)
        yield from of_layers(dtype)


def call(function: str, *args: Any, **options: Any) -> Callable[[Lane], tuple[Any, ...]]:
    """A call of a public function with NumPy's arrays, and all its results in line."""

    def answer(lane: Lane) -> tuple[Any, ...]:
        if not lane.compiles:
            return flat(getattr(lane, function)(*args, **options))
        import onesum

        target = getattr(onesum, function)
        arrays = {key: lane.send(a) for key, a in options.items() if isinstance(a, np.ndarray)}
        others = {key: a for key, a in options.items() if key not in arrays}
        compiled = lane.compiled(lambda *a, **o: target(*a, **o, **others))
        return flat(compiled(*map(lane.sent, args), **arrays))

    return answer


def flat(answer: Any) -> tuple[Any, ...]:
    if isinstance(answer, tuple):
        return tuple(a for part in answer for a in flat(part))
    return () if answer is None else (answer,)


def judged(
    answer: Callable[[Lane], tuple[Any, ...]], *wanted: tuple[str, Reference]
) -> Callable[[Lane], Answers]:
    def answers(lane: Lane) -> Answers:
        results = answer(lane)
        pairs = zip(results, wanted, strict=True)
        return [(budget, result, reference) for result, (budget, reference) in pairs]

    return answers


def of_functions(kind: str, k: int, n: int, dtype: str, plain: bool) -> Iterator[Check]:
    x, rng = logits(kind, k, n, dtype), np.random.default_rng(3)
    rows, inside = rng.integers(4, 24, k) / 8.0, rng.random((k, n)) < 0.7
    inside[:, 0] = True
    for function in FUNCTIONS:
        args = arguments(function, x)
        ways: list[dict[str, Any]] = [{}]
        if not plain:
            ways += [{"temperature": 1.5}, {"temperature": rows}]
            ways += [{"where": inside, "temperature": 1.5}] if function in MASKABLE else []
        of = oracle.softmax_vjp if function == "softmax_jvp" else getattr(oracle, function)
        for options in ways:
            wanted = of(*args, **options, arithmetic=WIDE)
            note = ", ".join((f"{kind}, {k}x{n}", *(_shown(*option) for option in options.items())))
            answers = judged(call(function, *args, **options), (function, wanted))
            own = None if options else (function, args, [(function, wanted)])
            yield Check(function, note, answers, own)
    if not plain:
        b = rng.choice([-2.0, -0.5, 0.0, 0.25, 1.0, 3.0], x.shape).astype(dtype)
        wanted, sign = oracle.signed_logsumexp(x, b, temperature=1.5)
        answer = call("logsumexp", x, b=b, temperature=1.5, return_sign=True)
        signs = Reference(sign.astype(np.longdouble), np.abs(sign).astype(np.longdouble))
        answers = judged(answer, ("signed_logsumexp", wanted), ("signed_logsumexp", signs))
        yield Check("logsumexp, b", kind, answers)


def _shown(name: str, value: Any) -> str:
    return f"{name} of rows" if name == "temperature" and np.ndim(value) else name


def of_losses(kind: str, dtype: str, plain: bool) -> Iterator[Check]:
    x = logits(kind, ROWS, CLASSES, dtype)
    v = np.random.default_rng(5).normal(size=x.shape).astype(dtype)
    names = ("a class", "probabilities, all options") if plain else tuple(oracle_losses.TARGETS)
    for name in names:
        target, given = oracle_losses.targets(name, x)
        # Numbers that every lane has exactly.
        options = {
            key: a.astype(np.float32).astype(np.float64) if isinstance(a, np.ndarray) else a
            for key, a in given.items()
        }
        ways: list[dict[str, Any]] = [{"reduction": "none"}]
        if not plain and kind == "spread 3":
            ways += [{"reduction": "mean"}, {"reduction": "sum", "temperature": 1.5}]
            if target.ndim == 1:
                ways.append({"reduction": "mean", "ignore_index": int(target[0])})
        for way in ways:
            all_options = {**options, **way}
            wanted = oracle_losses.cross_entropy(x, target, **all_options, arithmetic=WIDE)
            pairs = [("cross_entropy", wanted.loss), ("cross_entropy_grad", wanted.grad)]
            note = f"{kind}; {name}; {', '.join(f'{k}={a}' for k, a in way.items())}"
            answer = call("cross_entropy_value_and_grad", x, target, **all_options)
            hard = target.ndim == 1 and not options and way == ways[0]
            own = ("cross_entropy", (x, target), pairs) if hard else None
            yield Check("cross_entropy", note, judged(answer, *pairs), own)
            yield Check(
                "cross_entropy",
                f"{note}; loss alone",
                judged(call("cross_entropy", x, target, **all_options), pairs[0]),
            )
            product = oracle_losses.cross_entropy_hvp(x, target, v, **all_options, arithmetic=WIDE)
            answer = call("cross_entropy_hvp", x, target, v, **all_options)
            answers = judged(answer, ("cross_entropy_hvp", product))
            yield Check("cross_entropy_hvp", note, answers)


def of_information(kind: str, dtype: str) -> Iterator[Check]:
    x, y = (logits(kind, ROWS, CLASSES, dtype, seed=seed) for seed in (0, 1))
    wanted = oracle_losses.entropy(x, temperature=1.5, arithmetic=WIDE)
    answer = call("entropy", x, temperature=1.5)
    yield Check("entropy", kind, judged(answer, ("entropy", wanted)))
    index = np.random.default_rng(4).integers(0, CLASSES, ROWS)
    chosen = oracle_losses.selective_log_softmax(x, index, arithmetic=WIDE)
    answer = call("selective_log_softmax", x, index)
    answers = judged(answer, ("selective_log_softmax", chosen))
    yield Check("selective_log_softmax", kind, answers)
    both = oracle_losses.kl_divergence(x, y, arithmetic=WIDE)
    pairs = [
        ("kl_divergence", both.value),
        ("kl_divergence_grad", both.by_x),
        ("kl_divergence_grad", both.by_y),
    ]
    answer = call("kl_divergence_value_and_grad", x, y, reduction="none")
    yield Check("kl_divergence", kind, judged(answer, *pairs))
    answer = call("kl_divergence", x, y, reduction="none")
    yield Check("kl_divergence", f"{kind}; value alone", judged(answer, pairs[0]))


def of_jacobians(dtype: str) -> Iterator[Check]:
    x = logits("spread 3", 3, 6, dtype)
    v = np.random.default_rng(6).normal(size=x.shape).astype(dtype)
    for name in ("softmax", "log_softmax"):
        p = getattr(oracle, name)(x).value.astype(dtype)
        dense = getattr(oracle, f"{name}_jacobian")(p, temperature=1.5)
        diagonal = Reference(*(np.diagonal(a, axis1=-2, axis2=-1) for a in dense))
        wanted = [("jacobian", dense), ("jacobian", diagonal)]
        for way in ("jvp", "vjp"):
            of = getattr(oracle, "softmax_vjp" if name == "softmax" else f"{name}_{way}")
            product = of(p, v, temperature=1.5, arithmetic=WIDE)
            wanted.append((f"{name}_{way}", product))
        solution = getattr(oracle, f"{name}_solve")(p, v, temperature=1.5)

        def answer(lane: Lane, name: str = name, p: Any = p) -> tuple[Any, ...]:
            jacobian, sent = getattr(lane, f"{name}_jacobian")(p, temperature=1.5), lane.send(v)
            products = jacobian @ sent, sent @ jacobian
            return jacobian.to_dense(), jacobian.diagonal(), *products, jacobian.solve(sent)

        answers = judged(answer, *wanted, ("solve", solution))
        yield Check(f"{name}_jacobian", "spread 3", answers)


def of_layers(dtype: str) -> Iterator[Check]:
    """Layers whose logits every type has exactly, so that what is left are the gradients."""
    rng = np.random.default_rng(8)
    h, w = (rng.integers(-4, 5, (k, FEATURES)) / 4.0 for k in (ROWS, CLASSES))
    bias = rng.integers(-4, 5, CLASSES) / 4.0
    x, h, w, bias = (a.astype(dtype) for a in (h @ w.T + bias, h, w, bias))
    y = rng.integers(0, CLASSES, ROWS)
    for options in ({}, {"z_loss": 0.25, "label_smoothing": 0.125}):
        given = {**options, "reduction": "sum"}
        losses = oracle_losses.cross_entropy(x, y, **given, arithmetic=WIDE)
        value, scale = losses.grad
        wide = [a.astype(np.longdouble) for a in (h, w)]
        size = [np.abs(a) for a in wide]
        gradients = [
            Reference(value @ wide[1], scale @ size[1]),
            Reference(value.T @ wide[0], scale.T @ size[0]),
            Reference(value.sum(0), scale.sum(0)),
        ]
        pairs = [("linear_cross_entropy", a) for a in (losses.loss, *gradients)]
        answer = call("linear_cross_entropy_value_and_grad", h, w, y, bias, **given)
        yield Check("linear_cross_entropy", ", ".join(given), judged(answer, *pairs))
        answer = call("linear_cross_entropy", h, w, y, bias, **given)
        yield Check("linear_cross_entropy", "loss alone", judged(answer, pairs[0]))


def of_chunks(dtype: str) -> Iterator[Check]:
    x = logits("spread 3", ROWS, CLASSES, dtype)
    parts = [x[:, cut] for cut in CUTS]
    wanted = [
        (name, getattr(oracle, name)(x, temperature=1.5, arithmetic=WIDE))
        for name in ("logsumexp", "softmax", "log_softmax")
    ]

    def of_normalizer(lane: Lane) -> tuple[Any, ...]:
        import onesum

        sent = [lane.send(part) for part in parts]
        n = onesum.Normalizer.of(sent[0], temperature=1.5)
        for part in sent[1:]:
            n.update(part)
        return (
            n.logsumexp,
            _joined(lane, map(n.softmax, sent)),
            _joined(lane, map(n.log_softmax, sent)),
        )

    yield Check("Normalizer", "3 chunks", judged(of_normalizer, *wanted))
    for name in ("a class", "probabilities", "z_loss", "a class, all options"):
        target, given = oracle_losses.targets(name, x)
        weight = given.pop("weight", np.ones(CLASSES)).astype(np.float32).astype(np.float64)
        given = {k: np.float32(a).astype(float) if k == "sample_weight" else a
                 for k, a in given.items()}  # fmt: skip
        losses = oracle_losses.cross_entropy(
            x, target, weight=weight, **given, reduction="mean", arithmetic=WIDE
        )
        pairs = [("cross_entropy", losses.loss), ("cross_entropy_grad", losses.grad)]
        answer = functools.partial(_of_state, x=x, target=target, weight=weight, options=given)
        yield Check("CrossEntropyState", name, judged(answer, *pairs))


def _of_state(lane: Lane, x: Any, target: Any, weight: Any, options: Any) -> tuple[Any, ...]:
    import onesum

    options = {key: lane.sent(a) for key, a in options.items()}
    chunks = [
        {
            "x": lane.send(x[:, cut]),
            "target": lane.send(target if target.ndim == 1 else target[:, cut]),
            "start": cut.start,
            "weight": lane.send(weight[cut]),
        }
        for cut in CUTS
    ]
    states = (onesum.CrossEntropyState.of(**chunk, **options) for chunk in chunks)
    state = functools.reduce(operator.or_, states)
    return state.loss(), _joined(lane, (state.gradient(**chunk) for chunk in chunks))


def _joined(lane: Lane, arrays: Any) -> Any:
    """On the device again, so that it is seen that each part was there."""
    arrays = list(arrays)
    if not all(map(lane.is_there, arrays)):
        raise AssertionError("a part is not on the device")
    return lane.send(np.concatenate([lane.back(a) for a in arrays], axis=-1))


def measured(lane: Lane, budget: str, result: Any, wanted: Reference) -> tuple[float | None, float]:
    """The largest error in ulps, None if it is not finite; and as so many times the budget."""
    got = lane.back(result)
    over = excess(got, wanted, budget)
    if lane.flushes:
        tiny = np.abs(wanted.value) < CLASSES * smallest_normal(got.dtype)  # or a sum of such
        tiny &= np.isfinite(over)
        over = np.where(tiny, 0.0, over)
        wanted = wanted._replace(value=np.where(tiny, got.astype(np.longdouble), wanted.value))
    return largest(got, wanted, got.dtype), float(over.max(initial=0))
