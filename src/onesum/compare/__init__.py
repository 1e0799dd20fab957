"""Two sets of logits of the same rows, compared: how much of a model its quantised copy lost.

_compare.py           `compare`: both, a block of rows at a time
_logits.py _labels.py what blocks are read from; the rows' labels
_gathered.py          what is kept of the rows
_comparison.py        `Comparison`: what came out
_distribution.py      `Distribution`: one number a row
_linear.py            logits made of hidden states
llama_cpp.py          llama.cpp's file of logits
_table.py _figure.py  a comparison for a person to look at
"""

from ._compare import compare
from ._comparison import Comparison
from ._distribution import Distribution
from ._linear import LinearLogits
from .llama_cpp import LlamaCppLogits

__all__ = ["Comparison", "Distribution", "LinearLogits", "LlamaCppLogits", "compare"]
