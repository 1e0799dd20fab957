"""What is wrong with a file that the user named."""

import os
from pathlib import Path


class StorageError(ValueError):
    """A file cannot serve as asked. The message begins with its path."""


def unusable(path: str | os.PathLike[str], error: OSError) -> StorageError:
    """The same of what the system refuses."""
    return StorageError(f"{os.fspath(path)}: {error.strerror or error}")


def needs(path: str | os.PathLike[str], library: str) -> StorageError:
    """Of what a library must be installed for."""
    return StorageError(
        f"{Path(path).name}: needs {library}, which is not installed: pip install 'onesum[cli]'"
    )
