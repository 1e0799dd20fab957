"""The commands, each in a file of its own, and how what goes wrong is told."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from .. import __doc__ as description
from .. import __version__
from .._storage import StorageError
from .audit import audit
from .bench import bench
from .calibrate import calibrate
from .compare import compare
from .errors import FailedError, UserError, say, tell
from .explain import explain
from .explore import explore
from .info import info
from .log_softmax import log_softmax
from .logsumexp import logsumexp
from .loss import loss
from .softmax import softmax
from .table import whatever_the_encoding

app = App(name="onesum", help=description, version=__version__)
for command in (
    softmax,
    log_softmax,
    logsumexp,
    loss,
    calibrate,
    compare,
    audit,
    explain,
    explore,
    info,
):
    app.command(command)
# Its options are its own, --help too.
app.command(bench, help_flags=[], version_flags=[])


def run(argv: Sequence[str]) -> int:
    """Run a command, and answer its exit status: `onesum.cli.main`."""
    try:
        with whatever_the_encoding():
            status = app(
                list(argv),
                exit_on_error=False,
                print_error=False,
                result_action="return_value",
            )
            sys.stdout.flush()
            return int(status or 0)
    except (CycloptsError, UserError, StorageError) as error:
        tell(error, str(error))
        return 2
    except FailedError as error:
        tell(error, str(error))
        return 1
    except BrokenPipeError:  # whoever read the output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        tell(error, f"{name}{error.strerror or error}")
        return 1
    except MemoryError:
        say("there is not enough memory: a smaller --block needs less")
        return 1
