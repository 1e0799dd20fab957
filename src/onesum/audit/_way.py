"""How a function takes its arrays: what is tried, in this order."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

_KEYWORDS = ("axis", "dim")
_LIBRARIES = ("numpy", "torch", "jax")


class Way(NamedTuple):
    """One of them."""

    keyword: str | None = None  # of the axis
    by_row: bool = False
    one_hot: bool = False  # the target of a cross entropy, in the place of class indices


def ways(kind: str, parameters: frozenset[str] | None) -> list[Way]:
    """The axis in a keyword; no axis; and rows one by one where there is no axis."""
    named = [Way(name) for name in _KEYWORDS if parameters is not None and name in parameters]
    if kind == "cross_entropy":
        return [*named, Way(), Way(one_hot=True), Way(by_row=True)]
    if named:
        return named[:1]
    tried = parameters is None or "**" in parameters
    return [*(Way(name) for name in _KEYWORDS if tried), Way(), Way(by_row=True)]


def parameters_of(function: Callable[..., Any]) -> frozenset[str] | None:
    """The names that it may be called with, `**` if it takes any; None if it does not tell."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    named = [p for p in parameters if p.kind is not inspect.Parameter.POSITIONAL_ONLY]
    return frozenset("**" if p.kind is inspect.Parameter.VAR_KEYWORD else p.name for p in named)


def libraries_of(function: Callable[..., Any]) -> list[str]:
    """Those that are imported, the one first in which the function is defined."""
    function = wrapped(function)
    modules = [getattr(function, "__module__", None) or ""]
    modules += [kind.__module__ for kind in type(function).__mro__]
    own = {name.partition(".")[0] for name in modules}
    found = [name for name in _LIBRARIES if name in sys.modules]
    return sorted(found, key=lambda name: name not in own)


def name_of(function: Callable[..., Any]) -> str:
    function = wrapped(function)
    return str(getattr(function, "__name__", type(function).__name__))


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """What a functools.partial calls."""
    while isinstance(function, functools.partial):
        function = function.func
    return function
