"""The command `onesum`: `main`. What it imports is installed by `pip install 'onesum[cli]'`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from . import signals
from .errors import say, tell


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command, and answer its exit status.

    0 if all went well; 1 if something failed, as a disk that is full; 2 for a mistake in what was
    asked; 128 and the number of the signal for one that ended it. Messages go to stderr, a line
    each.
    """
    try:
        with signals.handled():
            from .app import run  # which takes longest of what is imported

            return run(sys.argv[1:] if argv is None else argv)
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in ("cyclopts", "rich"):
            raise
        say(f"needs {library}, which is not installed: pip install 'onesum[cli]'")
        return 2
    except signals.Interrupted as error:
        tell(error, "interrupted")
        return 128 + error.signum
