"""Calls drawn at random, and calls that once went wrong, against exact arithmetic and themselves.

`make fuzz` draws more of them, for as long as it is given.
"""

from __future__ import annotations

import numpy as np
import pytest
from fuzz.call import LAYOUTS, Operand, call, make, source
from fuzz.check import Miss, misses
from fuzz.draw import RECIPES, draw
from fuzz.shrink import shrunk
from fuzz_cases import CASES

import onesum

SEED, EACH = 11, 10  # calls of each function and implementation: `make fuzz` draws more


def none_of(found: list[Miss], note: str = "") -> None:
    for miss in found[:1]:
        words = f"{miss.call.function}: {miss.kind}\n{miss.detail}\n\n{source(miss.call)}"
        pytest.fail(f"{note}{words}", pytrace=False)


@pytest.mark.parametrize("name", CASES)
def test_what_once_went_wrong(numpy_api, name):
    none_of(misses(CASES[name]))


@pytest.mark.parametrize("function", RECIPES)
def test_calls_at_random(numpy_api, function):
    for number in range(EACH):
        found = misses(draw(SEED, number, (function,)))
        none_of([shrunk(miss) for miss in found[:1]], f"call {number}, ")


# The fuzzer itself


def test_every_public_function_is_drawn():
    functions = {n for n in onesum.__all__ if callable(getattr(onesum, n)) and n[0].islower()}
    about = {"get_num_threads", "set_num_threads", "register_threadpoolctl"}
    about |= {"release_memory", "show_config"}
    written = " ".join(source(draw(0, 0, (function,))) for function in RECIPES)
    assert {n for n in functions - about if f"onesum.{n}(" not in written} == set()


def test_the_same_number_is_the_same_call():
    for number in range(20):
        assert source(draw(3, number)) == source(draw(3, number))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_hold_the_values(layout):
    a = np.arange(6.0).reshape(2, 3)
    made = np.asarray(make(call("softmax", x=Operand(a, layout)))["x"])
    wanted = {"one row for all": a[[0, 0]], "one class for all": a[:, [0, 0, 0]]}.get(layout, a)
    assert np.array_equal(made, wanted)


def test_a_reproducer_is_the_call():
    """Its text, run by itself, makes the same arrays."""
    for number in range(60):
        drawn = draw(5, number)
        names: dict[str, object] = {}
        exec(source(drawn).rpartition("\n")[0], names)
        for name, a in make(drawn).items():
            if name in drawn.arrays and not isinstance(a, list):
                assert np.array_equal(np.asarray(names[name]), np.asarray(a), equal_nan=True)
                assert names[name].strides == a.strides


def test_a_wrong_answer_is_found_and_shrunk(monkeypatch):
    """One wrong number in a batch of options and layouts is told by one number and no option."""
    right = onesum.softmax

    def wrong(x, *args, **options):
        p = right(x, *args, **options)
        p[np.asarray(x) == 2.5] *= 1 + 1e-6
        return p

    monkeypatch.setattr(onesum, "softmax", wrong)
    x = np.array([[1.0, 2.0, 3.0], [0.5, 2.5, 0.0], [1.0, 1.0, 1.0]])
    found = misses(call("softmax", x=Operand(x, "Fortran"), where=x > 0, temperature=3.0))
    small = shrunk(found[0]).call
    assert [miss.kind for miss in found] == ["p: value"]
    assert small.arrays["x"].values.shape == (1, 1)
    assert list(small.arrays) == ["x"]
    assert small.options == {}
