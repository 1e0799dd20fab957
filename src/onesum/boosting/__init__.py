"""Softmax objectives for gradient boosting: what LightGBM and XGBoost ask for, each round.

Neither library is imported, nor needed: their data are known by `get_label()` and `get_weight()`.
"""

from ._derivatives import CURVATURES, gradient_and_curvature, log_loss
from ._objective import SoftmaxObjective

__all__ = ["CURVATURES", "SoftmaxObjective", "gradient_and_curvature", "log_loss"]
