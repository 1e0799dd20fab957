"""What is wrong with a file that the user named."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What the user did right, and the disk does not do.
OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


class StorageError(ValueError):
    """A file cannot serve as asked. The message begins with its path."""


def unusable(path: str | os.PathLike[str], error: OSError) -> Exception:
    """The same of what the system refuses; what the disk cannot do stays an `OSError`."""
    if error.errno in OF_THE_DISK:
        return OSError(error.errno, error.strerror, os.fspath(path))
    return StorageError(f"{os.fspath(path)}: {error.strerror or error}")


def needs(path: str | os.PathLike[str], library: str) -> StorageError:
    """Of what a library must be installed for."""
    return StorageError(
        f"{Path(path).name}: needs {library}, which is not installed: pip install 'onesum[cli]'"
    )


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Errors of the system about a file by its number have its name."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or path
        raise
