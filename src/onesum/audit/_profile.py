"""What is asked of a function: what is a fault, and what only a remark."""

from __future__ import annotations

from dataclasses import dataclass, field

from .._library import dtype_name

HALF = 0.51
"""Ulps of float16 and bfloat16, of a result that is rounded once."""


@dataclass(frozen=True)
class Profile:
    """What an audit asks of a function.

    Attributes
    ----------
    name : str
    library : str or None
        Whose arrays the function is given: numpy, torch or jax. None: found out by trying.
    ulps : dict of str to float
        The largest error of float32 and float64 by section; "" is for those not named.
    half_ulps : float
        That of float16 and bfloat16.
    by_terms : bool
        Whether errors are counted in ulps of the terms of the usual formulas: of 1 for a logarithm
        below 1, and of ``p (|g| + sum p |g|)``, or of ``|g| + p sum |g|``, for a derivative. What
        is in `remarks` is not.
    remarks : frozenset of str
        Sections, or topics within them, in which what is wrong is a remark and no fault.
    unnamed : frozenset of str
        Topics whose mistakes are told as findings and are not in `Report.mistakes`.

    Examples
    --------
    >>> from onesum.audit import PROFILES
    >>> PROFILES["strict"].allowed("regimes", "float32"), PROFILES["torch"].library
    (2.0, 'torch')
    """

    name: str
    library: str | None = None
    ulps: dict[str, float] = field(default_factory=lambda: {"": 2.0})
    half_ulps: float = HALF
    by_terms: bool = False
    remarks: frozenset[str] = frozenset()
    unnamed: frozenset[str] = frozenset()

    def allowed(self, section: str, dtype: object) -> float:
        """The largest error in a section that is none, in ulps of the dtype."""
        if dtype_name(dtype) in ("float16", "bfloat16"):
            return self.half_ulps
        return self.ulps.get(section, self.ulps[""])


# A topic that every softmax written by hand in NumPy has, SciPy's too: x - max(x) in 8 bits wraps
# around, and a sum above 65 504 is inf in float16.
NARROW = "narrow types"
SMALL = "small component"

_FRAMEWORK = {
    # Each of x - m, exp, the sum and the quotient is rounded; of x - m up to 10 that is 5 ulp.
    "": 16.0,
    # Half an ulp of x - m, up to 745, is 2^-45: 256 ulp of the exponential, and as much of m.
    "wide spread": 600.0,
    "large offsets": 64.0,
    "long rows": 1024.0,  # torch adds 1e6 numbers in a few sums: 320
}
_TOLERATED = frozenset(
    {
        NARROW,
        SMALL,
        "p near 1",
        "subnormal",
        "limits",
        "masks",
        "bits",
        "integers",
        "empty",
        "result type",
        "half types",
    }
)

PROFILES = {
    "default": Profile("default", unnamed=frozenset({NARROW})),
    "strict": Profile("strict"),
    **{
        name: Profile(name, library, _FRAMEWORK, 8.0, True, _TOLERATED, frozenset({NARROW, SMALL}))
        for name, library in {
            "framework": None,
            "numpy": "numpy",
            "scipy": "numpy",
            "torch": "torch",
            "jax": "jax",
        }.items()
    },
}
"""By name. `default` and `strict` ask for onesum's own contract; the others for what SciPy, torch
and JAX fulfil, and all but `framework` say whose arrays the function is given. `strict` also names
the mistakes that only 8-bit integers and half rows of more than 65 504 classes show."""


def profile_of(value: str | Profile | None) -> Profile:
    if value is None:
        return PROFILES["default"]
    if isinstance(value, Profile):
        return value
    if not isinstance(value, str) or value not in PROFILES:
        wanted = f"a Profile or one of {', '.join(PROFILES)}"
        raise ValueError(f"profile: expected {wanted}, got {value!r}")
    return PROFILES[value]
