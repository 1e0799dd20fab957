"""The calls of a seed, by their numbers."""

from __future__ import annotations

import numpy as np

from . import composed_recipes, recipes
from .call import Call
from .values import choice

RECIPES = recipes.RECIPES | composed_recipes.RECIPES


def draw(seed: int, number: int, functions: tuple[str, ...] = tuple(RECIPES)) -> Call:
    """The call of this number; the same for the same seed and functions."""
    rng = np.random.default_rng([seed, number])
    return RECIPES[choice(rng, functions)](rng)
