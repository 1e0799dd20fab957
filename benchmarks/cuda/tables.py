"""The tables of what was found on a device."""

from collections.abc import Iterable
from typing import Any

from onesum.bench.figures import times

from ..markdown import table

Result = dict[str, Any]
DTYPES = ("float32", "float64", "float16", "bfloat16")
# The rows of the table of errors: what the tests have a budget for.
FUNCTIONS = {
    "softmax": "softmax",
    "log_softmax": "log_softmax",
    "logsumexp": "logsumexp",
    "signed_logsumexp": "logsumexp with b",
    "softmax_vjp": "softmax_vjp",
    "softmax_jvp": "softmax_jvp",
    "log_softmax_vjp": "log_softmax_vjp",
    "log_softmax_jvp": "log_softmax_jvp",
    "logsumexp_vjp": "logsumexp_vjp",
    "logsumexp_jvp": "logsumexp_jvp",
    "cross_entropy": "cross_entropy",
    "cross_entropy_grad": "its gradient",
    "cross_entropy_hvp": "cross_entropy_hvp",
    "entropy": "entropy",
    "kl_divergence": "kl_divergence",
    "kl_divergence_grad": "its gradients",
    "selective_log_softmax": "selective_log_softmax",
    "linear_cross_entropy": "linear_cross_entropy and its gradients",
    "jacobian": "a Jacobian's entries",
    "solve": "and its solutions",
}
NOTHING = "Not measured yet: `python -m benchmarks cuda` measures it on a CUDA device."


def on_a_gpu(result: Result | None) -> str:
    """Errors in ulps and ratios of times, where we lose too."""
    if result is None:
        return NOTHING
    return "\n\n".join([_errors(result), _times(result), _right(result), _measured(result)])


def _errors(result: Result) -> str:
    """The largest of each type; of a library's own functions where it has them."""
    found = {(e["lane"], e["own"], e["function"], e["dtype"]): e["ulps"] for e in result["errors"]}
    columns = _once((lane, own) for lane, own, _, _ in found)
    heads = ["ulps", *(f"{lane}'s own" if own else f"{lane} by onesum" for lane, own in columns)]
    rows = []
    for function, shown in FUNCTIONS.items():
        for dtype in DTYPES:
            keys = [(*column, function, dtype) for column in columns]
            if any(key in found for key in keys):
                rows.append([f"{shown}, {dtype}", *(_ulps(found, key) for key in keys)])
    return table(heads, rows)


def _ulps(found: dict[Any, Any], key: Any) -> str:
    if key not in found:
        return ""
    return "not finite" if found[key] is None else f"{found[key]:.2g}"


def _times(result: Result) -> str:
    """How many times as long the library's own functions take, and its memory over ours."""
    found = {
        (t["lane"], t["dtype"], t["shape"], t["operation"]): (
            times(t["ratio"]) + (f" ({_memory(t)})" if "memory" in t else "")
        )
        for t in result["times"]
    }
    operations = _once(key[3] for key in found)
    rows = [
        [", ".join(key), *(found.get((*key, operation), "") for operation in operations)]
        for key in _once(key[:3] for key in found)
    ]
    text = (
        "How many times as long the library's own functions take, forward and backward: below 1 we "
        "lose. In brackets the memory that they take beyond their operands over what we take."
    )
    return f"{text}\n\n{table(['', *operations], rows)}"


def _memory(t: dict[str, Any]) -> str:
    return times(t["own memory"] / t["memory"]) if t["memory"] else "none"


def _right(result: Result) -> str:
    """How much was checked, and what was wrong or left out."""
    checks = sum(e["checks"] for e in result["errors"])
    cases = result["cases"]
    bad = [f"{c['lane']}: {c['name']}" for c in cases if not c["ok"]]
    failures = _once(f"{f['lane']}: {f['function']}, {f['dtype']}" for f in result["failures"])
    lines = [f"{checks} results were checked, and {len(cases)} cases that have a name."]
    if bad or failures:
        lines.append(f"Not as they should be: {'; '.join([*bad, *failures])}.")
    left = _once(f"{f['lane']} ({f['why'].splitlines()[0][:160]})" for f in result["left out"])
    if left:
        lines.append(f"Left out, at least in part: {'; '.join(left)}.")
    return " ".join(lines)


def _measured(result: Result) -> str:
    lanes = _once(
        f"{name} {version}"
        for about in result["lanes"]
        for name, version in about.items()
        if name not in ("lane", "part", "device", "cuda") and version
    )
    devices = _once(about["device"] for about in result["lanes"])
    return f"<sub>{', '.join([result['host']['date'], *devices, *lanes])}</sub>"


def _once(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))
