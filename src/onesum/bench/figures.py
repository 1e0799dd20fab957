"""What the times of a cell say, and how it is written."""

import math
from collections.abc import Iterable, Sequence

from .cases import KEPT, KINDS, TWO_WALKS
from .peers import NAMES, ONESUM
from .timing import Cell, case_of

PEERS = [name for name in NAMES if name != ONESUM]
MODES = ("fresh", "out")
NONE = "-"


def modes(cell: Cell) -> list[str]:
    """Of MODES: a loss alone has nothing to write into."""
    return [mode for mode in MODES if mode in cell["times"][ONESUM]]


def median(cell: Cell, name: str, mode: str) -> float:
    middle: float = cell["times"][name][mode][1]
    return middle


def ratio(cell: Cell, name: str, mode: str) -> float | None:
    """The time of another over that of onesum.

    A gradient put in place of the logits does what a fresh one would do: there another counts with
    the faster of what it has, which for some is a fresh gradient alone.
    """
    if mode not in modes(cell):
        return None
    places = MODES if case_of(cell).in_place and mode == "out" else (mode,)
    known = cell["times"].get(name, {})
    times = [median(cell, name, at) for at in places if at in known]
    return min(times) / median(cell, ONESUM, mode) if times else None


def best(cell: Cell, mode: str) -> tuple[float | None, str]:
    """The smallest of these ratios, and whose it is."""
    ratios = [(ratio(cell, name, mode), name) for name in PEERS]
    return min(((r, name) for r, name in ratios if r is not None), default=(None, ""))


def floor(cell: Cell, mode: str) -> float | None:
    """The time of the fastest way to move every array once, with a result in memory like ours."""
    case = case_of(cell)
    # What is written in place lies elsewhere than a fresh result, whose floor is made for it.
    places = MODES if case.array_bytes >= KEPT and not case.in_place else (mode,)
    times: list[float] = [
        known[at][1]
        for name, known in cell["floors"].items()
        if not name.startswith(TWO_WALKS)
        for at in places
    ]
    return min(times, default=None)


def of_two_walks(cell: Cell) -> float | None:
    """Into `out`, the part of onesum's time that moving each row takes after having read it."""
    times: list[float] = [
        known["out"][1] for name, known in cell["floors"].items() if name.startswith(TWO_WALKS)
    ]
    return min(times) / median(cell, ONESUM, "out") if times else None


def of_floor(cell: Cell, mode: str, at_least: bool = False) -> float | None:
    """The floor's part of onesum's time, 1 being as fast as memory; or that of what must move."""
    time = floor(cell, mode)
    if time is None:
        return None
    if at_least:
        time *= cell["bytes_at_least"] / cell["bytes"]
    return time / median(cell, ONESUM, mode)


def spread(cell: Cell, mode: str) -> float:
    """The largest distance between quartiles, relative to its median."""
    quartiles = [known[mode] for known in cell["times"].values() if mode in known]
    widths: list[float] = [(high - low) / middle for low, middle, high in quartiles]
    return max(widths)


def mean(ratios: Iterable[float | None]) -> float | None:
    """Geometric, of those there are."""
    logs = [math.log(ratio) for ratio in ratios if ratio is not None]
    return math.exp(sum(logs) / len(logs)) if logs else None


def times(ratio: float | None) -> str:
    if ratio is None:
        return NONE
    return f"{ratio:.2f}" if ratio < 2 else f"{ratio:.1f}" if ratio < 10 else f"{ratio:.0f}"


def part(fraction: float | None) -> str:
    return NONE if fraction is None else f"{100 * fraction:.0f}%"


def duration(microseconds: float) -> str:
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if microseconds >= size:
            return f"{microseconds / size:.3g} {unit}"
    return f"{microseconds:.3g} µs"


def heads(peers: Sequence[str]) -> list[str]:
    return ["result", ONESUM, "of the floor", "of what must move", *peers, "best other", "spread"]


def row(cell: Cell, mode: str, peers: Sequence[str]) -> list[str]:
    return [
        mode,
        duration(median(cell, ONESUM, mode)),
        part(of_floor(cell, mode)),
        part(of_floor(cell, mode, at_least=True)),
        *(times(ratio(cell, name, mode)) for name in peers),
        times(best(cell, mode)[0]),
        part(spread(cell, mode)),
    ]


def by_kind(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """All of them, and those of each kind."""
    groups = {kind: [cell for cell in cells if case_of(cell).kind == kind] for kind in KINDS}
    return {"all": list(cells), **{kind: some for kind, some in groups.items() if some}}
