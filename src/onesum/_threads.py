"""How many threads the compiled core may use."""

import functools
import operator
import sys
from contextlib import suppress
from typing import Any, SupportsIndex


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


def _core() -> Any:
    """The compiled core, if it serves."""
    return sys.modules.get("onesum._core")


if "threadpoolctl" in sys.modules:
    with suppress(ImportError):  # too old
        register_threadpoolctl()
