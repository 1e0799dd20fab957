"""docs/calibration.md: what it takes to find the temperature, beside searches by values."""

from onesum.bench.cases import shape_name
from onesum.bench.figures import duration, times
from onesum.bench.peers import ONESUM
from onesum.bench.timing import Result

from ..markdown import table
from .measured import measured

NOTHING = "Not measured yet: `python -m benchmarks calibration` measures it."


def tables(result: Result | None) -> str:
    if result is None:
        return NOTHING
    others = [name for name in result["rows"][0]["times"] if name != ONESUM]
    rows = []
    for row in result["rows"]:
        middles = {name: middle for name, (_, middle, _) in row["times"].items()}
        beside = [
            cell
            for name in others
            for cell in (duration(middles[name]), times(middles[name] / middles[ONESUM]))
        ]
        shape = shape_name(tuple(row["shape"]), -1)
        rows.append([f"{shape}, {row['dtype']}", duration(middles[ONESUM]), *beside])
    heads = [head for name in others for head in (name, "times as long")]
    libraries = {"SciPy": "scipy", "scikit-learn": "scikit-learn"}
    about = measured(result, libraries)
    return "\n\n".join([table(["rows x classes", ONESUM, *heads], rows), about])
