from mainspring.serving.isolation.environment import Isolation as Isolation
from mainspring.serving.isolation.environment import isolation_of as isolation_of
from mainspring.serving.isolation.environment import other_releases as other_releases
from mainspring.serving.isolation.predictor import IsolatedPredictor as IsolatedPredictor
from mainspring.serving.isolation.predictor import isolated_predictor as isolated_predictor

__all__ = ["IsolatedPredictor", "Isolation", "isolated_predictor", "isolation_of", "other_releases"]
