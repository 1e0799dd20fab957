"""docs/performance.md: what calls take beside their arrays, and what importing takes."""

from onesum.bench.cases import shape_name
from onesum.bench.figures import MODES, NONE
from onesum.bench.peers import ONESUM
from onesum.bench.timing import Result

from ..markdown import table
from .measured import ALL, measured


def calls(result: Result) -> str:
    names = list(result["rows"][0]["extra"])
    rows = []
    for row in result["rows"]:
        extras = [
            _bytes(row["extra"].get(name, {}).get(mode))
            for name in names
            for mode in (MODES if name == ONESUM else MODES[:1])
        ]
        case = f"{row['operation']} {shape_name(row['shape'], row['axis'])}"
        rows.append([case, _bytes(row["array"]), _bytes(row["result"]), *extras])
    heads = ["float32", "one operand", "result", f"{ONESUM} adds", "with `out=`"]
    others = [f"{name} adds" for name in names if name != ONESUM]
    return "\n\n".join([table([*heads, *others], rows), measured(result, ALL)])


def _bytes(size: int | None) -> str:
    if size is None:
        return NONE
    return f"{max(0, size) / 1e6:.1f} MB" if size < 1e8 else f"{size / 1e6:.0f} MB"


def importing(result: Result) -> str:
    numpy, own = (result["times"][module][1] for module in ("numpy", "onesum"))
    text = (
        f"`import onesum` takes {result['ratio'][1]:.2f} times as long as `import numpy`, which it "
        f"contains: {own:.3g} ms and {numpy:.3g} ms."
    )
    if result["wheel"]:
        text += f" The wheel is {result['wheel']['bytes'] / 1e6:.2f} MB."
    return f"{text}\n\n{measured(result, {})}"
