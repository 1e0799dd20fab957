"""Estimators for scikit-learn, which is imported with this module."""

from ._temperature_scaling import TemperatureScaling

__all__ = ["TemperatureScaling"]
