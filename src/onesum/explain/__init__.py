"""The derivation of softmax's derivatives with one's own numbers, and what floating point does.

_explain.py            `explain`: the arguments
_explanation.py        `Explanation`: what came out, in every form
_exact.py _floating.py results in a hundred digits; of the naive formulas, and of onesum
_compared.py           these beside one another, with their errors
_maths.py _layout.py   formulas as trees; vectors, matrices, equations
_writing.py            what writes them
_substitute.py         numbers in the place of the symbols of a formula
_steps.py _notation.py a step of a derivation; the symbols they have in common
_quotient.py _logarithm.py _kronecker.py _shifted.py   the routes; what a computer should do
_words.py              what has no derivation, in words
_plain.py _latex.py _mathml.py                         how formulas are written
_text.py _tex.py _html.py _json.py _figure.py                   whole explanations
"""

from ._explain import explain
from ._explanation import Explanation

__all__ = ["Explanation", "explain"]
