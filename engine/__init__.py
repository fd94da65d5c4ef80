"""Millrace's engine: a recommender that learns from every interaction. Knows nothing of Kafka."""

from engine.events import Interaction, Item
from engine.recommender import Answer, Ranked, Recommender
from engine.settings import EngineSettings

__all__ = ["Answer", "EngineSettings", "Interaction", "Item", "Ranked", "Recommender"]
