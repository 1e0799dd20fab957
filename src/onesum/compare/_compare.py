"""Both sets of logits, a block of rows at a time, to the numbers that each row has."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .._storage.blocks import blocks_beside
from .._storage.region import Box, numbers_in
from ._comparison import Comparison
from ._gathered import Gathered, labels_of
from ._logits import Logits, ahead
from .llama_cpp import LlamaCppLogits, need_same_tokens

Array = Any

# Elements that are computed with at one time: 4 MB of float32. The definition of the divergences
# takes a quarter of a gigabyte for that; with 1/8 of it, what is done once a block would show.
BLOCK = 2**20
# As many may be read, where fewer would be read in bits.
LARGEST = 8 * BLOCK


def compare(
    base: Any,
    other: Any,
    labels: Any = None,
    axis: int = -1,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    r"""Compare two sets of logits of the same rows: those of a model, and of its quantised copy.

    With p the softmax of base and q that of other, for every row

    .. math:: \mathrm{KL}(p \| q) = \sum_i p_i \log \frac{p_i}{q_i}, \quad \mathrm{KL}(q \| p),
        \quad \mathrm{JS} = \frac{1}{2} \Bigl( \mathrm{KL}\bigl(p \| \tfrac{p + q}{2}\bigr)
        + \mathrm{KL}\bigl(q \| \tfrac{p + q}{2}\bigr) \Bigr),

    as sums of terms of which none is negative, in float64; whether both have their largest logit
    (the first of equal ones) at one class; and of the row's label its two log-likelihoods.

    Parameters
    ----------
    base, other : array_like
        Logits, of one shape: arrays of any library, or anything with shape, dtype and slicing, as
        `numpy.memmap`, stored arrays, `LlamaCppLogits` and `LinearLogits`. float16, bfloat16,
        float32, float64 or integers. Both are read a block of rows at a time and computed with on
        the CPU: beside the blocks, of a row or a chunk at least, memory holds some float64 a row.
    labels : array_like of int, optional
        The class that came true, one per row: of the shape of base without the class axis. By
        default those that base, or else other, has itself: `LlamaCppLogits` knows its tokens.
    axis : int, optional
        The class axis, by default the last. All others count rows, in C order.
    progress : callable, optional
        Called after each block with how many rows are done and how many there are.

    Returns
    -------
    Comparison
        With `kl`, `reverse_kl`, `js`, `same_top`, and of labels `delta_p`, perplexities and more,
        with standard errors.

    Raises
    ------
    TypeError
        If logits or labels are of another type, or axis is no int.
    ValueError
        If the shapes differ, there is no row or no class; if a row of base or other has NaN, or no
        softmax (nothing but -inf, or several inf): how many have, and the first of them.
    IndexError
        If a label is no class.
    numpy.exceptions.AxisError
        If axis is out of range.

    Notes
    -----
    A divergence is inf where a class has p > 0 and q = 0, as by a logit of -inf.

    References
    ----------
    S. Kullback, R. A. Leibler, "On Information and Sufficiency", 1951. J. Lin, "Divergence Measures
    Based on the Shannon Entropy", 1991.

    Examples
    --------
    >>> from onesum.compare import compare
    >>> base = [[2.0, 0.0, 1.0], [0.0, 3.0, 0.0]]
    >>> result = compare(base, [[2.0, 0.5, 1.0], [0.0, 3.0, 1.0]], labels=[0, 1])
    >>> round(result.kl.max, 6), result.same_top
    (0.029645, 1.0)
    >>> result.delta_p.values.round(6)
    array([-0.036709, -0.065648])
    """
    a = Logits("base", base, axis)
    b = Logits("other", other, axis, a)
    files = [c for c in (base, other) if isinstance(c, LlamaCppLogits)]
    if len(files) == 2:
        need_same_tokens(base, other)
    if labels is None and files:
        labels = files[0].labels
    gathered = Gathered(a, b, None if labels is None else labels_of(labels, a))
    blocks = blocks_beside((a.lies, b.lies), (a.axis,), (BLOCK, LARGEST))

    def read(box: Box) -> tuple[Array, Array, Array]:
        return numbers_in(blocks.of_rows(box), a.batch), a.read(box), b.read(box)

    step = max(1, BLOCK // a.classes)
    for rows, x, y in ahead(partial(read, box) for box in blocks.rows()):
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            gathered.take(rows[part], x[part], y[part])
        if progress is not None:
            progress(gathered.done, a.rows)
    return gathered.comparison()
