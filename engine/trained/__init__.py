"""Serving of what was trained offline (`engine.training`): numpy, numba and ONNX, no torch."""

from engine.trained.folder import TrainedModelError
from engine.trained.model import TrainedModel

__all__ = ["TrainedModel", "TrainedModelError"]
