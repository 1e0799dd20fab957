"""`onesum bench`."""

from typing import Annotated

from cyclopts import Parameter


def bench(*arguments: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)]) -> int:
    """Times beside every other library installed: `onesum bench --help` has its options."""
    from ..bench.__main__ import main

    return main(arguments, "onesum bench")
