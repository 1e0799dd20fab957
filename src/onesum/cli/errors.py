"""How a command ends that does not do what was asked."""

from __future__ import annotations

import sys


class UserError(Exception):
    """A mistake in what was asked: exit status 2."""


class FailedError(Exception):
    """What was asked for is right, and does not work: exit status 1."""


def say(line: object) -> None:
    """Tell the user a line beside the output."""
    text = " ".join(part.strip() for part in str(line).splitlines())
    print(f"onesum: {text}", file=sys.stderr, flush=True)


def tell(error: BaseException, message: str) -> None:
    """The same of an error, with the notes that were added to it."""
    say("; ".join([message, *getattr(error, "__notes__", [])]))


def renamed(error: Exception, names: dict[str, str]) -> str:
    """What the library says of an argument, said of the file that was given for it."""
    argument, colon, text = str(error).partition(": ")
    return f"{names.get(argument, argument)}{colon}{text}"
