"""What runs here: the threads, the memory that is kept, what this installation consists of."""

import functools
import operator
import os
import sys
from contextlib import suppress
from typing import Any, Literal, SupportsIndex

import numpy as np

from ._backends import registry


def get_num_threads() -> int:
    """How many threads a call may use, the one that makes it among them.

    Returns
    -------
    n : int
        What `set_num_threads` set; otherwise ONESUM_NUM_THREADS, or else OMP_NUM_THREADS, as they
        were at import; otherwise the number of CPUs that the process may use, by its affinity
        and by the quota of its cgroup. 1 where the compiled core is not in use.

    Examples
    --------
    >>> import onesum
    >>> onesum.get_num_threads() >= 1
    True
    """
    core = _core()
    return core._get_num_threads() if core else 1


def set_num_threads(n: SupportsIndex) -> None:
    """Set how many threads a call may use, for the whole process.

    Small arrays are not worth a second thread and never get one. The results are the same bits
    whatever the number.

    Parameters
    ----------
    n : int
        At least 1, which is to use no thread but the caller's. It may be more than there are CPUs;
        more than 1024 count as 1024. Without effect where the compiled core is not in use.

    Raises
    ------
    TypeError
        If n is not an int.
    ValueError
        If n is less than 1.

    Examples
    --------
    >>> import onesum
    >>> before = onesum.get_num_threads()
    >>> onesum.set_num_threads(1)
    >>> onesum.get_num_threads()
    1
    >>> onesum.set_num_threads(before)
    """
    try:
        number = operator.index(n)
    except TypeError:
        number = None
    if number is None or isinstance(n, bool):
        raise TypeError(f"n: expected an int, got {n!r:.60}")
    if number < 1:
        raise ValueError(f"n: expected an int >= 1, got {n!r:.60}")
    if core := _core():
        core._set_num_threads(number)


@functools.cache
def register_threadpoolctl() -> None:
    """Make the threads of onesum known to threadpoolctl, which must be installed.

    From then on `threadpoolctl.threadpool_info()` and `threadpool_limits()` include them, under the
    `user_api` "onesum". Where threadpoolctl is imported before onesum, that is done at import; to
    call it again does nothing.

    Raises
    ------
    ImportError
        If threadpoolctl is not installed, or older than 3.2.

    Examples
    --------
    >>> import onesum
    >>> import threadpoolctl
    >>> onesum.register_threadpoolctl()
    >>> with threadpoolctl.threadpool_limits(1):
    ...     onesum.get_num_threads()
    1
    """
    from threadpoolctl import LibController, register

    class OnesumController(LibController):  # type: ignore[misc]
        user_api = "onesum"
        internal_api = "onesum"
        filename_prefixes = ("_core",)
        check_symbols = ("onesum_get_num_threads", "onesum_set_num_threads")

        def get_num_threads(self) -> Any:
            return self.dynlib.onesum_get_num_threads()

        def set_num_threads(self, num_threads: int) -> None:
            self.dynlib.onesum_set_num_threads(num_threads)

        def get_version(self) -> Any:
            return sys.modules["onesum"].__version__

    register(OnesumController)


def release_memory() -> int:
    """Give the memory that is kept for large results back to the system.

    The memory of a result of 16 MiB or more is kept when the array is gone, for the next one of
    about its size. The system may take it whenever memory is short, so that there is seldom a
    reason to call this; it makes what the process is seen to hold what it does hold.

    Returns
    -------
    n : int
        How many bytes were kept. 0 where the compiled core is not in use.

    Examples
    --------
    >>> import numpy as np
    >>> import onesum
    >>> p = onesum.softmax(np.zeros((4000, 1050), dtype="float32"))
    >>> del p
    >>> given_back = onesum.release_memory()  # 18874368: 9 huge pages of Linux
    >>> onesum.release_memory()
    0
    """
    core = _core()
    return core._release_memory() if core else 0


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
    core = _core()
    config = {
        "version": sys.modules["onesum"].__version__,
        "numpy": np.__version__,
        "backend": registry.name_of(registry.numpy_backend),
        "reason": registry.numpy_reason(),
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


def _core() -> Any:
    """The compiled core, if it serves."""
    return sys.modules.get("onesum._core")


if "threadpoolctl" in sys.modules:
    with suppress(ImportError):  # too old
        register_threadpoolctl()
