"""What this installation of onesum consists of."""

import os
import sys
from typing import Any, Literal

import numpy as np

from . import backends
from ._threads import get_num_threads


def show_config(mode: Literal["stdout", "dicts"] = "stdout") -> dict[str, Any]:
    """Show the version, the backend of NumPy arrays and why, the instruction sets, the threads.

    Parameters
    ----------
    mode : {"stdout", "dicts"}, optional
        Print and return (the default), or only return.

    Returns
    -------
    config : dict
        Keys: version, numpy, backend, reason (why that backend; where the compiled core could not
        be built, the first error of its build), isa (in use), isas (that this CPU has), built_isas,
        threads (that a call may use), overrides (the environment variables ONESUM_* that are set).

    Raises
    ------
    ValueError
        If mode is neither of the two.

    Examples
    --------
    >>> import onesum
    >>> onesum.show_config(mode="dicts")["version"]
    '0.1.0'
    """
    if mode not in ("stdout", "dicts"):
        raise ValueError(f"mode: expected 'stdout' or 'dicts', got {mode!r}")
    core = sys.modules.get("onesum._core")
    config = {
        "version": sys.modules["onesum"].__version__,
        "numpy": np.__version__,
        "backend": backends.numpy_backend.__name__.rpartition(".")[2],
        "reason": backends.numpy_reason(),
        "isa": getattr(core, "isa", None),
        "isas": getattr(core, "isas", ()),
        "built_isas": getattr(core, "built_isas", ()),
        "threads": get_num_threads(),
        "overrides": {k: v for k, v in sorted(os.environ.items()) if k.startswith("ONESUM_")},
    }
    if mode == "stdout":
        print(_text(config))
    return config


def _text(config: dict[str, Any]) -> str:
    lines = [
        ("onesum", config["version"]),
        ("NumPy", config["numpy"]),
        ("backend", f"{config['backend']} ({config['reason']})"),
        ("instruction set", config["isa"] or "none: the compiled core is not in use"),
        ("available", ", ".join(config["isas"]) or "none"),
        ("built", ", ".join(config["built_isas"]) or "none"),
        ("threads", config["threads"]),
        ("overrides", ", ".join(f"{k}={v}" for k, v in config["overrides"].items()) or "none"),
    ]
    return "\n".join(f"{name:<16} {value}" for name, value in lines)
