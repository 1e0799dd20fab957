"""Anybody's softmax, or its derivative, put through what such a function should stand.

_check.py               `check`: one part of the audit after another
_subject.py _way.py _limit.py
                        how the function is called: its library, its axis, its time
_process.py             the audit in a process of its own, for the command
_exact.py               what it should have returned
_regimes.py _types.py _arrays.py _long.py _backward.py _gradient.py _losses.py
                        what it is asked, by kind of input
_forward_mistakes.py _axis_mistake.py _sum_mistakes.py _backward_mistakes.py
                        mistakes, known by what they return
_audit.py _compared.py  what is asked and noted, and how answers are compared
_mistakes.py            their names, formulas and mends
_profile.py             what is a fault and what a remark
_speed.py               its time beside that of others
_report.py _show.py     `Report`, and how it is shown
"""

from ._check import check
from ._profile import PROFILES, Profile
from ._report import Finding, Report

__all__ = ["PROFILES", "Finding", "Profile", "Report", "check"]
