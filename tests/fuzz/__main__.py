"""The command line: calls until the time is over, a reproducer for each sort of miss, a table."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from fnmatch import fnmatchcase
from typing import Any

from implementations import on_numpy, using

from . import __doc__ as description
from .call import source
from .check import Miss, misses
from .draw import RECIPES, draw
from .shrink import shrunk

TURN = 3.0  # seconds for one implementation before it is the next one's turn
FORK = multiprocessing.get_context("fork")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=description)
    add = parser.add_argument
    add("--seconds", type=float, default=60, help="how long to draw calls")
    add("--seed", type=int, default=0, help="the same calls for the same seed and functions")
    add("--only", type=int, metavar="NUMBER", help="the one call of this number")
    add("--start", type=int, default=0, metavar="NUMBER", help="the number of the first call")
    add("--backend", choices=("reference", "native"), help="default: both in turn")
    add("--isa", choices=("v2", "v3", "v4"), help="default: all that the machine has, in turn")
    add("--functions", metavar="GLOB", default="*", help="as in 'cross_entropy*'")
    args = parser.parse_args()
    functions = tuple(name for name in RECIPES if fnmatchcase(name, args.functions))
    names = [name for name in on_numpy() if _asked(name, args.backend, args.isa)]
    if not functions or not names:
        parser.error("no such function, or no such implementation on this machine")
    return _run(args, functions, names)


def _asked(name: str, backend: str | None, isa: str | None) -> bool:
    module, _, this_isa = name.partition("-")
    if backend and module != backend:
        return False
    return isa is None or (module == "native" and this_isa.endswith(isa))


def _run(args: argparse.Namespace, functions: tuple[str, ...], names: list[str]) -> int:
    """One implementation after the other, each turn in a process of its own: it may crash."""
    calls: Counter[str] = Counter()
    missed: Counter[tuple[str, str]] = Counter()
    at = multiprocessing.Value("q", args.start if args.only is None else args.only)
    end, turn = time.monotonic() + args.seconds, 0
    while time.monotonic() < end or (args.only is not None and turn < len(names)):
        name = names[turn % len(names)]
        there, here = multiprocessing.Pipe(duplex=False)
        process = FORK.Process(target=_turn, args=(args, functions, name, at, set(missed), here))
        process.start()
        here.close()
        try:
            found = there.recv()
        except EOFError:  # it died on the way
            process.join()
            call = draw(args.seed, at.value, functions)
            if process.exitcode and process.exitcode > 0:
                print(f"the fuzzer itself fails at call {at.value}: its error is above")
                return 2
            found = Counter([call.function]), Counter([(call.function, "crash")])
            if (call.function, "crash") not in missed:
                _show(Miss(call, "crash", f"exit status {process.exitcode}"), name, args, at.value)
            at.value += 1
        process.join()
        calls.update(found[0])
        missed.update(found[1])
        turn += 1
        if args.only is not None:
            at.value = args.only
            if turn == len(names):
                break
    _table(calls, missed)
    return 1 if missed else 0


def _turn(
    args: argparse.Namespace,
    functions: tuple[str, ...],
    name: str,
    at: Any,
    known: set[tuple[str, str]],
    found: Any,
) -> None:
    """Calls for some seconds, or the one that is asked for."""
    calls: Counter[str] = Counter()
    missed: Counter[tuple[str, str]] = Counter()
    end = time.monotonic() + TURN
    with using(name):
        while time.monotonic() < end:
            call = draw(args.seed, at.value, functions)
            calls[call.function] += 1
            for miss in misses(call):
                missed[miss.key] += 1
                if miss.key not in known:
                    _show(shrunk(miss), name, args, at.value)
                    known.add(miss.key)
            at.value += 1
            if args.only is not None:
                break
    found.send((calls, missed))


def _show(miss: Miss, name: str, args: argparse.Namespace, number: int) -> None:
    print(f"\n# {miss.call.function} ({name}): {miss.kind}")
    print(f"# {miss.detail}".replace("\n", "\n# "))
    print(f"# --seed {args.seed} --functions '{args.functions}' --only {number}")
    print(source(miss.call), flush=True)


def _table(calls: Counter[str], missed: Counter[tuple[str, str]]) -> None:
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        _plain_table(calls, missed)
        return
    table = Table("function", "calls", "misses", "of which sort")
    for function, number in sorted(calls.items()):
        sorts = {kind: n for (name, kind), n in missed.items() if name == function}
        words = "\n".join(f"{n} x {kind}" for kind, n in sorts.items())
        table.add_row(function, str(number), str(sum(sorts.values())), words)
    table.add_section()
    table.add_row("all", str(calls.total()), str(missed.total()), "")
    Console().print(table)


def _plain_table(calls: Counter[str], missed: Counter[tuple[str, str]]) -> None:
    for function, number in sorted(calls.items()):
        print(f"{function:36} {number:8} calls")
        for (name, kind), n in missed.items():
            if name == function:
                print(f"{'':36} {n:8} x {kind}")
    print(f"{'all':36} {calls.total():8} calls {missed.total():8} misses")


if __name__ == "__main__":
    sys.exit(main())
