"""The command line: a table of ratios, as it is measured."""

import argparse
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from . import __doc__ as description
from . import figures, host, peers, timing
from .cases import DTYPES, LOSSES, OPERATIONS, Case, Shape, cases
from .processes import Libraries

WIDTH = 11
SHORT = {"of the floor": "floor", "of what must move": "must move"}


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--threads", type=int, default=1, help="for every library, on as many processors")
    add("--isa", help="instruction set of onesum, as in v3")
    add("--cells", metavar="GLOB", default="*", help="as in 'softmax float32 *, axis 1'")
    add("--libraries", type=_libraries, metavar="NAMES", help="as in onesum,torch; otherwise all")
    add("--shape", type=_shape, help="another shape, as in 4096x1000, for all operations")
    add("--axis", type=int, default=-1, help="its class axis")
    add("--dtype", choices=DTYPES, default="float32", help="its dtype")
    add("--seconds", type=float, default=4, help="for each cell; the largest take longer")
    add("--resume", action="store_true", help="skip the cells that the file of results has")
    add("--quick", action="store_true", help="one tiny shape, for a trial")


def main(argv: Sequence[str] | None = None, prog: str = "python -m onesum.bench") -> int:
    parser = argparse.ArgumentParser(prog=prog, description=description)
    add_options(parser)
    parser.add_argument("--losses", action="store_true", help="cross entropy and its gradient")
    parser.add_argument("--json", type=Path, metavar="FILE", help="save the times, cell by cell")
    args = parser.parse_args(argv)
    run(args, args.json)
    return 0


def run(args: argparse.Namespace, path: Path | None) -> None:
    """Measure and show what the options say, and save it if there is a path.

    args.losses: whether the operations are the losses.
    """
    host.pin(args.threads, args.isa)
    wanted = [case for case in _cases(args) if fnmatchcase(str(case), args.cells)]
    if not wanted:
        raise SystemExit(f"--cells: nothing is called {args.cells}")
    effort = timing.QUICK if args.quick else timing.Effort(args.seconds)
    chosen = peers.installed()
    if args.libraries:
        chosen = {name: chosen[name] for name in args.libraries}
    names = [name for name in figures.PEERS if name in chosen]
    width = max(len(str(case)) for case in wanted)
    heads = (SHORT.get(head, head) for head in figures.heads(names))
    print(f"{'times as long as onesum':{width}}", *(f"{head[:WIDTH]:>{WIDTH}}" for head in heads))
    with Libraries(chosen) as libraries:
        result = timing.run(
            libraries, path, wanted, effort, args.resume, lambda cell: _show(cell, names, width)
        )
    _show_means(result["cells"])


def _libraries(text: str) -> list[str]:
    try:
        return peers.named(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _shape(text: str) -> Shape:
    return tuple(map(int, text.split("x")))


def _cases(args: argparse.Namespace) -> list[Case]:
    operations = LOSSES if args.losses else OPERATIONS
    if args.shape is None:
        return cases(operations, args.quick)
    return [Case(operation, args.dtype, args.shape, args.axis) for operation in operations]


def _show(cell: timing.Cell, names: list[str], width: int) -> None:
    title = str(timing.case_of(cell))
    for mode in figures.modes(cell):
        columns = (f"{text:>{WIDTH}}" for text in figures.row(cell, mode, names))
        print(f"{title:{width}}", *columns, flush=True)
        title = ""
    if (walks := figures.of_two_walks(cell)) is not None:
        print(f"    out: {figures.part(walks)} of the time is what two walks take", flush=True)
    for name, reason in cell["failed"].items():
        print(f"    without {name}: {reason}", flush=True)


def _show_means(cells: list[timing.Cell]) -> None:
    print("\nThe best other library, geometric means:")
    for kind, some in figures.by_kind(cells).items():
        means = (
            f"{mode} {figures.times(figures.mean(figures.best(cell, mode)[0] for cell in some))}"
            for mode in figures.MODES
        )
        print(f"{kind:12}", *means)


if __name__ == "__main__":
    sys.exit(main())
