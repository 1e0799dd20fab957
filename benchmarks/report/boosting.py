"""docs/boosting.md: what an objective costs, alone and within whole rounds."""

from onesum.bench.figures import duration, part, times
from onesum.bench.peers import ONESUM
from onesum.bench.timing import Result

from ..markdown import table
from .measured import measured


def tables(result: Result) -> str:
    """The objective alone, and whole rounds with the part of it that the objective takes."""
    calls, rounds = [], []
    for cell in result["cells"]:
        named = f"{cell['library']}, {cell['classes']} classes"
        alone, whole, within = (
            {name: middle for name, (_, middle, _) in cell[what].items()}
            for what in ("alone", "round", "within")
        )
        others = ("NumPy", "loops")
        ratios = [times(alone[name] / alone[ONESUM]) for name in others]
        calls.append([named, *map(duration, map(alone.get, (ONESUM, *others))), *ratios])
        shown = [
            f"{duration(whole[name])} ({part(within[name] / whole[name])})"
            for name in (ONESUM, "NumPy")
        ]
        ratio = times(whole["NumPy"] / whole[ONESUM])
        rounds.append([named, *shown, duration(whole["built-in"]), ratio])
    size = f"{result['rows']} rows, {result['features']} features"
    heads = [size, ONESUM, "NumPy", "loops", "NumPy / onesum", "loops / onesum"]
    return "\n\n".join(
        [
            "The objective alone:",
            table(heads, calls),
            "A whole round, and the part of it that is the objective:",
            table([size, ONESUM, "NumPy", "built-in", "NumPy / onesum"], rounds),
            measured(result, {"LightGBM": "lightgbm", "XGBoost": "xgboost"}),
        ]
    )
