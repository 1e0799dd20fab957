"""The memory that the compiled core keeps for large results."""

import sys


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
    core = sys.modules.get("onesum._core")
    return core._release_memory() if core else 0
