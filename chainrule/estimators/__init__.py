"""Networks as estimators of scikit-learn: for pipelines, cross-validation and searches. Needs the extra ``sklearn``."""

from ..errors import MissingExtraError

try:
    import sklearn as _sklearn
except ImportError:
    raise MissingExtraError("scikit-learn", "sklearn") from None

from .mlp import MLPClassifier, MLPRegressor
from .neural import NeuralClassifier, NeuralRegressor

__all__ = ["MLPClassifier", "MLPRegressor", "NeuralClassifier", "NeuralRegressor"]
