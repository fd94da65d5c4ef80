"""Settings of the engine; the defaults are what the published figures were measured with."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class EngineSettings(BaseModel):
    """What decides a ranking. Two engines with equal settings and equal logs have equal state."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    k: int = Field(10, ge=1, le=1000, description="items in a recommendation")
    seed: int = Field(0, ge=0, description="seed of the initial embeddings and of sampling")
    aggregator: Literal["numba", "numpy"] = Field(
        "numba", description="backend that aggregates neighbour embeddings"
    )
    dimensions: int = Field(32, ge=4, le=256, description="width of a graph embedding")
    text_dimensions: int = Field(
        32, ge=4, le=256, description="width of a projected text embedding"
    )
    neighbours: int = Field(
        64, ge=8, le=1024, description="most recent neighbours that the graph keeps for each node"
    )
    transitions: int = Field(
        128, ge=8, le=4096, description="item-to-item transitions that are kept for each item"
    )
    history: int = Field(
        30, ge=1, le=1024, description="most recent items of a user that ranking and learning read"
    )
    text: bool = Field(True, description="use text embeddings")
    review_text: bool = Field(
        True,
        description="encode the text of reviews, on the event path (some 10 ms for a long one)",
    )
    text_cache: int = Field(
        50_000, ge=1, description="texts whose embedding is remembered by their hash"
    )
