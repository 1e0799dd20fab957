"""`onesum audit`."""

from __future__ import annotations

import json
from typing import Annotated

from cyclopts import Parameter

from ..audit import PROFILES, Report
from ..audit._limit import need_limit
from ..audit._process import NoFunctionError, check_named
from ..audit._subject import KINDS
from .errors import UserError
from .pictures import file_path, save


def audit(
    function: Annotated[str, Parameter(name="MODULE:FUNCTION")],
    /,
    *,
    vjp: str | None = None,
    kind: str | None = None,
    profile: str | None = None,
    limit: float = 10.0,
    as_json: Annotated[str | None, Parameter(name="--json", allow_leading_hyphen=True)] = None,
    quiet: Annotated[bool, Parameter(negative="", show_default=False)] = False,
) -> int:
    """Anybody's softmax, or its derivative: how exact it is, and which usual mistakes it makes.

    It is called with logits of every kind, and what it returns is compared with the exact result.
    The exit status is 0 if it passes, 1 if it does not, 2 for a mistake on the command line.

    Parameters
    ----------
    function
        A function as Python imports it: scipy.special:softmax, torch:softmax, jax.nn:softmax; or
        my_file:my_softmax, of my_file.py in this directory.
    vjp
        A derivative, MODULE:FUNCTION called with (p, g), to be audited too.
    kind
        softmax, log_softmax, logsumexp, cross_entropy, softmax_vjp or log_softmax_vjp; by default
        what the function's name says, and softmax if it says nothing.
    profile
        What is asked of it: default or strict, onesum's own contract; framework, numpy, scipy,
        torch or jax, what those libraries fulfil.
    limit
        Seconds that a call may take.
    as_json
        Write the report, or both in a list, as JSON into this file; - is the output.
    quiet
        Print nothing but what --json asks for.
    """
    try:
        need_limit("--limit", limit)
    except ValueError as error:
        raise UserError(str(error)) from None
    if kind is not None and kind not in KINDS:
        raise UserError(f"--kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    if profile is not None and profile not in PROFILES:
        raise UserError(f"--profile: expected one of {', '.join(PROFILES)}, got {profile!r}")
    report = None if as_json in (None, "-") else file_path("--json", str(as_json))
    wanted = [("MODULE:FUNCTION", function, kind or _kind_of(function))]
    if vjp is not None:
        forward = wanted[0][2] if wanted[0][2] in ("softmax", "log_softmax") else "softmax"
        wanted.append(("--vjp", vjp, f"{forward}_vjp"))
    for option, name, _ in wanted:
        if not all(name.partition(":")):
            raise UserError(f"{option}: expected MODULE:FUNCTION, got {name!r}")
    reports = [_check(*each, profile, limit) for each in wanted]
    if report is not None:
        save(f"{_json_of(reports)}\n".encode(), report)
    elif as_json is not None:
        print(_json_of(reports))
    if not quiet and as_json != "-":
        _show(reports)
    return 0 if all(report.ok for report in reports) else 1


def _kind_of(name: str) -> str:
    """What a function of this name computes: the longest kind that is in it."""
    last = name.rpartition(":")[2].lower()
    return max((k for k in KINDS if k in last), key=len, default="softmax")


def _check(option: str, name: str, kind: str, profile: str | None, limit: float) -> Report:
    try:
        return check_named(name, kind, profile, limit)
    except NoFunctionError as error:
        raise UserError(f"{option}: {error}") from None


def _json_of(reports: list[Report]) -> str:
    values = [report.to_dict() for report in reports]
    return json.dumps(values if len(values) > 1 else values[0], indent=2, allow_nan=False)


def _show(reports: list[Report]) -> None:
    from rich.console import Console

    for report in reports:
        Console().print(report)
