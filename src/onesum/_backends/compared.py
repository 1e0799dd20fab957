"""What a backend says of two rows of logits."""

from __future__ import annotations

from typing import Any, NamedTuple

Array = Any


class Compared(NamedTuple):
    """Of p = softmax(x) and q = softmax(y): one number a row, without the class axis, in the widest
    type.
    """

    kl: Array  # KL(p || q)
    reverse_kl: Array  # KL(q || p)
    js: Array  # Jensen-Shannon's
    top_x: Array  # the maximum of x
    top_y: Array
    rest_x: Array  # log1p(r) of x: log p = (x - top) - rest
    rest_y: Array
