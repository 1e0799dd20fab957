"""`onesum.audit`: mistakes are named, right functions are not accused, and ulps are true."""

from __future__ import annotations

import json
import time

import audited_implementations as audited
import jax
import numpy as np
import oracle
import pytest
import rich.console
import scipy.special
import torch
from budget import AUDIT_EXACT

import onesum
from onesum.audit import PROFILES, Profile, _speed, check
from onesum.audit import _exact as exact
from onesum.audit import _gradient as gradient
from onesum.audit._audit import Audit
from onesum.audit._check import name_mistakes
from onesum.audit._mistakes import MISTAKES
from onesum.audit._subject import KINDS, Subject

NAMES = [
    "no_max_shift global_max log_of_softmax clipped epsilon_added wrong_axis integer_overflow",
    "half_precision_sum not_normalized writes_input depends_on_batch",
    "p_minus_g elementwise diagonal_only missing_sum wrong_sign sum_over_batch unshifted",
]


# Another name of the same formula, or another side of it.
COMES_WITH = {
    "clipped": ["log_of_softmax"],
    "epsilon_added": ["log_of_softmax"],
    "log_of_softmax": ["no_max_shift"],
    "wrong_axis": ["global_max"],
    "elementwise": ["diagonal_only"],
    "diagonal_only": ["elementwise"],
}


def audit_of(function, kind, profile="default"):
    return Audit(Subject(function, kind, None, 60.0), PROFILES[profile])


def mistakes(function, kind, profile="default"):
    """Those that `check` names, without the rest of what it looks at."""
    audit = audit_of(function, kind, profile)
    name_mistakes(audit)
    audit.subject.limited.close()
    return [e.mistake for e in audit.evidence]


def of(report, section, case=""):
    """The findings of a section whose case begins so."""
    return [f for f in report.findings if f.section == section and f.case.startswith(case)]


def id_of(value):
    return value if isinstance(value, str) else getattr(value, "__name__", type(value).__name__)


SHAPES = _speed.SHAPES


@pytest.fixture(autouse=True)
def no_times(monkeypatch):
    """Of which one test is: JAX compiles its own function for every audit."""
    monkeypatch.setattr(_speed, "SHAPES", ())


# --- mistakes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mistake", "kind", "function"), audited.WRONG + audited.WRONG_BACKWARDS, ids=id_of
)
def test_a_mistake_is_named(mistake, kind, function):
    found = mistakes(function, kind)
    assert mistake in found
    assert set(found) <= {mistake, *COMES_WITH.get(mistake, ())}


@pytest.mark.parametrize(("kind", "function"), audited.RIGHT + audited.RIGHT_BACKWARDS, ids=id_of)
def test_a_right_function_is_not_accused(kind, function):
    assert mistakes(function, kind) == []


def test_every_name_has_an_example_and_a_mend():
    made = {mistake for mistake, _, _ in audited.WRONG + audited.WRONG_BACKWARDS}
    assert set(MISTAKES) == set(" ".join(NAMES).split()) == made
    for mistake in MISTAKES.values():
        for kind in KINDS:
            told = mistake.of(kind)
            assert told.formula
            assert told.what
            assert told.mend


def test_enough_are_written():
    for group in (audited.WRONG, audited.WRONG_BACKWARDS, audited.RIGHT, audited.RIGHT_BACKWARDS):
        assert len(group) >= 10


@pytest.mark.parametrize(
    ("kind", "function", "named"),
    [
        ("softmax", scipy.special.softmax, {"integer_overflow", "half_precision_sum"}),
        ("softmax", audited.textbook, {"integer_overflow", "half_precision_sum"}),
        ("log_softmax", torch.log_softmax, {"half_precision_sum"}),
        ("softmax", torch.softmax, set()),
    ],
    ids=id_of,
)
def test_strict_names_what_narrow_types_show(kind, function, named):
    assert set(mistakes(function, kind, "strict")) == named


def test_the_shown_formula_is_not_accused_where_it_is_right():
    """An epsilon below the last place, and a bound that no float64 reaches, change nothing."""

    def tiny(x, axis=-1):
        e = audited.shifted(x, axis)
        return e / (e.sum(axis=axis, keepdims=True) + 1e-300)

    def far(x, axis=-1):
        d = np.maximum(x - x.max(axis=axis, keepdims=True), -800.0)
        return np.exp(d) / np.exp(d).sum(axis=axis, keepdims=True)

    assert mistakes(tiny, "softmax") == mistakes(far, "softmax") == []


# --- the exact results, and ulps --------------------------------------------------------------


def drawn(shape, seed):
    return np.random.default_rng(seed).normal(0, 5, shape)


@pytest.mark.parametrize("kind", ["softmax", "log_softmax", "logsumexp"])
@pytest.mark.parametrize("axis", [-1, 0])
def test_exact_results_are_the_oracles(kind, axis):
    x = drawn((4, 5), 1)
    x[0] += [700, 0, -700, 0, 1]
    got, wanted = exact.forward(kind, x, axis), getattr(oracle, kind)(x, axis)
    close(got.value, wanted.value, np.abs(wanted.value))


@pytest.mark.parametrize("kind", ["softmax", "log_softmax"])
def test_exact_derivatives_are_the_oracles(kind):
    x, g = drawn((4, 5), 2), drawn((4, 5), 3)
    x[0] = [40, 0, 0, 0, -700]
    first = getattr(onesum, kind)(x)
    got = exact.backward(f"{kind}_vjp", first, g)
    wanted = getattr(oracle, f"{kind}_vjp")(first, g)
    close(got.value, wanted.value, wanted.scale)


def close(got, wanted, scale):
    difference = np.array(
        [abs(np.longdouble(str(a)) - b) for a, b in zip(got.flat, wanted.flat, strict=True)]
    )
    assert np.all(difference <= AUDIT_EXACT * scale.ravel())


@pytest.mark.parametrize("kind", ["softmax", "log_softmax", "logsumexp"])
def test_classes_with_counts_are_so_many_classes(kind):
    x, counts = drawn((1, 4), 4), [3, 1, 2, 5]
    few = exact.forward(kind, x, counts=np.array(counts)).value
    many = exact.forward(kind, np.repeat(x, counts, axis=1)).value
    expected = few if kind == "logsumexp" else np.repeat(few, counts, axis=1)
    assert np.array_equal(many.astype(float), expected.astype(float))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_an_ulp_is_one(dtype):
    """From the value to the next number of the type, above, below and among the subnormal ones."""
    for value in (1.5, 0.3, 1e-4, float(np.finfo(dtype).tiny) / 4):
        a = np.array([value], dtype)
        wanted = exact.Exact(*[np.array([exact.Decimal(float(a[0]))])] * 2)
        assert exact.ulps(a, wanted, a.dtype) == 0
        assert exact.ulps(np.nextafter(a, a.dtype.type(8)), wanted, a.dtype) == 1
    assert exact.ulps(np.array([np.nan], dtype), wanted, a.dtype) == np.inf
    assert exact.ulps(np.array([np.inf], dtype), wanted, a.dtype) == np.inf


# --- onesum, and its peers --------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_onesum_passes_whole(kind):
    report = check(getattr(onesum, kind), kind, profile="strict")
    assert report.ok, report
    assert not report.remarks
    assert report.mistakes == []
    sections = {f.section for f in report.findings}
    assert {"ordinary logits", "wide spread", "inf and NaN", "batch", "input"} <= sections


def test_known_faults_of_scipy_are_found():
    report = check(scipy.special.softmax)
    assert not report.ok
    wide = of(report, "wide spread", "float32")[0]
    assert wide.verdict == "fault"
    assert 30 < wide.error < 130
    assert "nan" in of(report, "integers", "uint8")[0].text
    assert "returned 0, expected 1.431e-05" in of(report, "half types", "float16, 70000")[0].text
    assert report.mistakes == []
    log = check(scipy.special.log_softmax, "log_softmax")
    for case in ("float32", "float64"):
        (near,) = of(log, "p near 1", case)
        assert near.verdict == "fault"
        assert near.error > 1e7


def test_known_faults_of_torch_are_found():
    report = check(torch.softmax)
    assert report.library == "torch"
    (small,) = of(report, "gradient", "logits [40, 0]")
    assert small.verdict == "fault"
    assert small.text == "0 at the first class, where 4.2e-18 is right"
    assert of(report, "gradient", "ordinary")[0].verdict == "ok"
    loss = check(torch.nn.functional.cross_entropy, "cross_entropy")
    assert of(loss, "p near 1", "float64")[0].error > 1e15


@pytest.fixture
def _narrow_jax():
    """JAX as it comes, whatever other tests have set."""
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", False)
    yield
    assert not jax.config.jax_enable_x64  # which the audit sets for its calls alone
    jax.config.update("jax_enable_x64", before)


@pytest.mark.usefixtures("_narrow_jax")
def test_known_faults_of_jax_are_found():
    audit = audit_of(jax.nn.softmax, "softmax")
    assert audit.subject.library == "jax"
    gradient.gradients(audit)
    ordinary, small = audit.findings
    assert ordinary.verdict == "ok"
    assert small.verdict == "fault"


@pytest.mark.usefixtures("_narrow_jax")
def test_times_are_measured_and_leave_no_trace(monkeypatch):
    monkeypatch.setattr(_speed, "SHAPES", SHAPES[:1])
    report = check(audited.textbook)
    (times,) = report.to_dict()["microseconds"].values()
    assert set(times) == {"textbook", "onesum", "NumPy", "SciPy", "torch", "JAX"}
    assert min(times.values()) > 0


@pytest.mark.parametrize(
    ("kind", "function"),
    [
        ("softmax", scipy.special.softmax),
        ("log_softmax", scipy.special.log_softmax),
        ("logsumexp", torch.logsumexp),
        ("softmax_vjp", audited.plain),
    ],
    ids=id_of,
)
def test_the_peers_profile_passes_them(kind, function):
    report = check(function, kind, profile="framework")
    assert report.ok, report
    assert report.remarks


def test_the_peers_profile_passes_no_mistake():
    report = check(audited.naive, profile="framework")
    assert report.mistakes == ["no_max_shift"]
    assert not report.ok


# --- calls ------------------------------------------------------------------------------------


def raises(x):
    raise RuntimeError("not\ntoday")


def exits(x):
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (raises, "raised RuntimeError: not today"),
        (exits, "raised SystemExit: 3"),
        (lambda x: None, "returned NoneType, expected an array of numbers"),
        (lambda x: "p", "returned str, expected an array of numbers"),
        (lambda x: x.sum(), "returned shape (), expected (3, 4)"),
        (lambda x, axis: x[:1], "returned shape (1, 4), expected (3, 4)"),
    ],
)
def test_what_answers_nothing_is_reported(function, told):
    report = check(function)
    assert not report.ok
    assert told in [f.text for f in report.faults]
    assert told in str(report)


def test_what_never_returns_is_left():
    stopped = []

    def hang(x):
        try:
            while True:
                time.sleep(0.01)
        finally:
            stopped.append(True)

    report = check(hang, limit=0.2)
    assert report.faults[0].text == "did not return within 0.2 s"
    for _ in range(500):
        if stopped:
            break
        time.sleep(0.01)
    assert stopped  # it does not go on in the background


def test_one_call_that_never_returns_is_one_finding():
    def slow(x):
        while x.shape[-1] > 100_000:
            time.sleep(0.01)
        return onesum.softmax(x)

    report = check(slow, limit=0.5)
    late = [f for f in report.faults if f.text == "did not return within 0.5 s"]
    assert {f.section for f in late} == {"long rows"}
    assert report.mistakes == []


def test_what_is_printed_is_kept(capsys):
    def chatty(x, axis=-1):
        print("logits of", x.shape)
        return onesum.softmax(x, axis=axis)

    report = check(chatty)
    assert report.ok
    assert of(report, "calls", "output")[0].text.startswith("prints 'logits of (4, 4)")
    assert capsys.readouterr() == ("", "")


def test_one_row_at_a_time():
    report = check(audited.one_row, profile="numpy")
    assert report.ok, report
    assert "one row at a time" in of(report, "axes", "arrays")[0].text


def test_losses_of_rows_and_their_mean():
    for function in (audited.textbook_loss, audited.textbook_mean_loss):
        assert check(function, "cross_entropy", profile="numpy").ok


def test_masks_are_asked_where_they_are_taken():
    assert [f.case for f in of(check(onesum.softmax), "masks")] == ["where", "NaN outside"]

    def ignores(x, axis=-1, where=None):
        return onesum.softmax(x, axis=axis)

    (first, second) = of(check(ignores), "masks")
    assert first.verdict == second.verdict == "fault"


def test_layout_and_size_faults_are_found():
    def of_memory(x, axis=-1):
        """Reads a buffer as if it were in order."""
        if x.ndim == 2 and not x.flags.c_contiguous and axis == -1:
            x = x.ravel(order="K").reshape(x.shape)
        return onesum.softmax(x, axis=axis)

    found = [f for f in of(check(of_memory), "layout") if f.verdict == "fault"]
    assert "Fortran order" in [f.case for f in found]
    assert {f.text for f in found} == {"another result"}


# --- arguments, and the report ----------------------------------------------------------------


def test_arguments_are_checked():
    with pytest.raises(TypeError, match=r"^function: expected a callable, got 3$"):
        check(3)
    with pytest.raises(ValueError, match=r"^kind: expected one of softmax, .*, got 'sofmax'$"):
        check(onesum.softmax, "sofmax")
    with pytest.raises(ValueError, match=r"^profile: expected a Profile or one of .*, got 'x'$"):
        check(onesum.softmax, profile="x")
    wanted = "^limit: expected a finite number of seconds above 0, got"
    for limit in (0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=f"{wanted} {limit}$"):
            check(onesum.softmax, limit=limit)
    with pytest.raises(TypeError, match=f"{wanted} '1'$"):
        check(onesum.softmax, limit="1")


def test_a_profile_of_ones_own():
    lenient = Profile("mine", ulps={"": 1e3}, half_ulps=1e3)
    report = check(scipy.special.softmax, profile=lenient)
    assert of(report, "wide spread", "float32")[0].verdict == "ok"
    none = check(onesum.softmax, profile=Profile("none", ulps={"": 0.0}))
    assert of(none, "ordinary logits", "float32")[0].verdict == "fault"


def test_report_tells_what_is_wrong():
    report = check(audited.naive)
    for shown in (str(report), repr(report), report._repr_html_(), printed(report)):
        assert "no_max_shift" in shown
        assert "does not pass" in shown
        assert "formula" in shown
    assert "passes" in str(check(onesum.softmax)).splitlines()[0]
    value = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert value["ok"] is False
    assert value["mistakes"][0]["mistake"] == "no_max_shift"
    assert {f["verdict"] for f in value["findings"]} <= {"ok", "remark", "fault"}


def test_html_is_escaped():
    def raises_markup(x):
        raise ValueError("<script>[bold]")

    html = check(raises_markup)._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "[bold]" in printed(check(raises_markup))


def printed(report):
    console = rich.console.Console(width=100)
    with console.capture() as capture:
        console.print(report)
    return capture.get()
