"""What stands under a table: on which machine it was measured, with which libraries and when."""

from onesum.bench.cases import LOSSES
from onesum.bench.peers import ONESUM
from onesum.bench.timing import Result

# Names of libraries and of their packages.
BESIDE = {"SciPy": "scipy", "torch": "torch", "JAX": "jax"}
ALL = {**BESIDE, "ONNX Runtime": "onnxruntime"}


def measured(result: Result, libraries: dict[str, str]) -> str:
    machine, missing = result["host"], result.get("missing")
    how = []
    if "threads" in result:
        how = [_threads(result["threads"]), machine["isa"]]
    versions = [
        f"{name} {machine['versions'][package]}"
        for name, package in {ONESUM: "onesum", "NumPy": "numpy", **libraries}.items()
        if machine["versions"][package]
    ]
    without = [f"without {', '.join(missing)}"] if missing else []
    return f"<sub>{', '.join([machine['date'], machine['cpu'], *how, *versions, *without])}</sub>"


def title(result: Result) -> str:
    losses = "losses, " if result["cells"][0]["operation"] in LOSSES else ""
    return f"{losses}{_threads(result['threads'])}, {result['host']['isa']}"


def _threads(n: int) -> str:
    return f"{n} thread{'s' * (n > 1)}"
