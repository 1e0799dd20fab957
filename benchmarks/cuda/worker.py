"""A lane in a process of its own: `python -m benchmarks.cuda.worker LANE right|fast DEVICE ...`.

Each finding is a line of JSON, written as soon as it is known: what ends in the middle has said
what it found so far.
"""

import argparse
import json
import sys
import time
import traceback
from typing import Any

import numpy as np

from . import derived, fast, right
from .lanes import LANES, Lane, LeftOut


def say(**finding: Any) -> None:
    print(json.dumps(_plain(finding)), flush=True)


def _plain(a: Any) -> Any:
    """What JSON has: no infinities, no NaN, no numbers of NumPy's."""
    if isinstance(a, dict):
        return {key: _plain(value) for key, value in a.items()}
    if isinstance(a, list | tuple):
        return [_plain(value) for value in a]
    if isinstance(a, np.generic):
        a = a.item()
    return str(a) if isinstance(a, float) and not np.isfinite(a) else a


def failed(what: dict[str, Any], why: str, text: str = "") -> None:
    say(kind="failure", **what, why=why, traceback=text)


def check_all(lane: Lane, quick: bool) -> None:
    for name, case in derived.named(lane):
        try:
            ok, got = case()
            say(kind="case", name=name, ok=ok, got=got)
        except Exception as error:
            why = f"{type(error).__name__}: {error}"[:400]
            say(kind="case", name=name, ok=False, got=why, traceback=traceback.format_exc())
    for dtype in lane.dtypes:
        for check in (*derived.derivatives(lane, dtype), *right.checks(lane, dtype, quick)):
            check_one(lane, dtype, check)


def check_one(lane: Lane, dtype: str, check: right.Check) -> None:
    what = {"function": check.function, "dtype": dtype, "input": check.note}
    try:
        answers = check.answers(lane)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"[:400]
        failed(what, why, traceback.format_exc())
        return
    for budget, result, wanted in answers:
        try:
            if not lane.is_there(result):
                failed(what, f"{budget}: {type(result).__name__} is not on the device")
            if lane.back(result).dtype.name != dtype:
                failed(what, f"{budget}: of dtype {lane.back(result).dtype}")
            ulps, part = right.measured(lane, budget, result, wanted)
            say(kind="error", **what, budget=budget, ulps=ulps, of_budget=part)
            if not part <= lane.allowed:
                failed(what, f"{budget}: {part:.4g} times the budget; {lane.allowed:g} are allowed")
        except Exception as error:
            why = f"{budget}: {type(error).__name__}: {error}"[:400]
            failed(what, why, traceback.format_exc())
    if check.own is not None and not lane.compiles:
        _beside(lane, what, *check.own)


def _beside(lane: Lane, what: dict[str, Any], function: str, args: Any, wanted: Any) -> None:
    """What the library itself makes of it."""
    try:
        answers = lane.own(function, tuple(map(lane.send, args)))
        for answer, (budget, reference) in zip(answers or (), wanted, strict=False):
            ulps, part = right.measured(lane, budget, answer, reference)
            say(kind="error", **what, own=True, budget=budget, ulps=ulps, of_budget=part)
    except Exception as error:
        say(kind="left out", what={**what, "own": True}, why=f"{type(error).__name__}: {error}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lane", choices=LANES)
    parser.add_argument("part", choices=("right", "fast"))
    parser.add_argument("device", choices=("cuda", "cpu"))
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    deadline = time.monotonic() + args.seconds
    try:
        lane = LANES[args.lane](args.device)
    except LeftOut as reason:
        say(kind="left out", what="all of it", why=str(reason))
        return 0
    except Exception as error:
        say(kind="left out", what="all of it", why=f"{type(error).__name__}: {error}"[:400])
        return 0
    say(kind="about", **lane.versions())
    if args.part == "right":
        check_all(lane, args.quick)
    else:
        shapes = fast.SMALL_SHAPES if args.quick else fast.SHAPES
        for finding in fast.measurements(lane, shapes, deadline):
            say(**finding)
    say(kind="done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
