"""What torch.compile sees of a call."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from .._library import torch_compiles

_Function = TypeVar("_Function", bound=Callable[..., Any])

_OPERATIONS: dict[str, Callable[..., Any]] = {}


def one_operation(function: _Function) -> _Function:
    """A function that torch.compile puts into its graph as one operation, with plain arguments.

    Dynamo does not look into it, and so has nothing there to guard at every call; what is in it is
    traced below Dynamo.
    """
    name = f"{function.__module__}.{function.__qualname__}"
    _OPERATIONS[name] = function

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        if torch_compiles():
            from .torch import graph

            if graph.takes(arguments):  # type: ignore[no-untyped-call]
                return graph.run(name, *arguments)
        return function(*arguments)

    return call  # type: ignore[return-value]


def operation_of(name: str) -> Callable[..., Any]:
    return _OPERATIONS[name]
