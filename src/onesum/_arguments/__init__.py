"""From what a caller may write to the one form that a backend takes, and back.

`call.py` has what is known of arrays without looking into them: axes, shapes, types. What reads
their values is in `values.py`, and is left out where these are not known when a call is made.
"""

from .call import Call

__all__ = ["Call"]
