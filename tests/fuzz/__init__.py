"""Calls of every public function, drawn at random, against exact arithmetic.

`make fuzz` runs them from the command line, `tests/test_fuzz.py` a fixed number of them.

call.py      a call: its arrays and where they lie, its options; as source text, and made
values.py    numbers to draw       shapes.py   shapes, axes, options   memory.py   layouts and out
recipes.py, composed_recipes.py    how to draw a call of each function
draw.py      the calls of a seed   rows.py     a call's arrays as rows
limits.py    what rows with infinities and NaN answer
functions.py, losses.py, divergence.py, composed.py   the exact answers (the form: answers.py)
wanted.py    all of these          check.py    one call made and judged
shrink.py    a smaller call that misses in the same way
__main__.py  the command line
"""
