"""Settings of the engine; the defaults are what the published figures were measured with."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from engine.events import Kinds

ALL_KINDS = "all"
"""What stands in `excludes` for every kind."""


class EngineSettings(BaseModel):
    """What decides a ranking. Two engines with equal settings and equal logs have equal state."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    k: int = Field(10, ge=1, le=1000, description="items in a recommendation")
    seed: int = Field(0, ge=0, description="seed of the initial embeddings and of sampling")
    model: Literal["hybrid", "gnn", "llm"] = Field(
        "hybrid", description="parts that rank: graph and text, the graph alone, the text alone"
    )
    aggregator: Literal["numba", "int8", "numpy", "pynq"] = Field(
        "numba",
        description="backend that aggregates neighbour embeddings: in 32 bits, in 8 bits, slowly "
        "and obviously, on an FPGA in 8 bits (gives what int8 gives)",
    )
    board: str = Field(
        "", description="address of the FPGA board, for pynq; empty: this machine is one"
    )
    bitstream: str = Field("", description="the overlay's .bit, for pynq; its .hwh lies beside it")
    trained: str = Field(
        "", description="folder of a model trained offline that a new engine begins with"
    )
    dimensions: int = Field(32, ge=4, le=256, description="width of a graph embedding")
    text_dimensions: int = Field(
        20, ge=4, le=256, description="width of a projected text embedding"
    )
    neighbours: int = Field(
        64, ge=8, le=1024, description="most recent items that the graph keeps for each user"
    )
    transitions: int = Field(
        256, ge=8, le=4096, description="item-to-item transitions that are kept for each item"
    )
    history: int = Field(
        30, ge=1, le=1024, description="most recent items of a user that ranking and learning read"
    )
    trending_half_life: int = Field(
        3000,
        ge=1,
        description="events after which one counts half in what is trending: fewer where tastes "
        "change by the hour",
    )
    surging_half_life: int = Field(
        300, ge=1, description="as trending_half_life, of what is surging"
    )
    embedding_rate: float = Field(
        0.2, ge=0, le=10, description="learning rate of the graph embeddings (Adagrad)"
    )
    text_rate: float = Field(
        0.05, ge=0, le=10, description="learning rate of the match of users and texts (Adagrad)"
    )
    bias_rate: float = Field(
        0.1, ge=0, le=10, description="learning rate of the items' biases (Adagrad)"
    )
    weight_drift: float = Field(
        1e-5,
        ge=0,
        le=1,
        description="how fast what was learnt of the features' weights grows old: the share of "
        "their first variance that an event adds (Newton's steps set their own rates)",
    )
    exact_items: int = Field(
        20_000, ge=1, description="largest catalogue of which every item is scored"
    )
    candidates: int = Field(
        800, ge=100, description="items of a larger catalogue that transitions name to be scored"
    )
    low_value: float = Field(
        2.0, description="a rating or review of at most this value counts as a dislike, too"
    )
    kinds: dict[str, Annotated[float, Field(gt=0, le=1)] | Literal["dislike", "ignore"]] = Field(
        {},
        description="own kinds of events, and built-in ones weighed anew: the weight of their "
        'edge (a purchase has 1, a view .4), "dislike" or "ignore"',
    )
    excludes: list[str] = Field(
        ["purchase", "rating", "review", "like", "read"],
        description="kinds of events after which an item is never recommended to that user again; "
        '"all": every kind; a dislike always is one. After any other kind, as a view, it may come '
        "again, and how often and how lately the user took it is learnt. Empty for what is bought "
        "again and again",
    )
    recommend_unlisted: bool = Field(
        False,
        description="recommend what is trending to users without history although only events "
        "name it, and no message of the items topic; where no item has such a message, all are "
        "recommended whatever this says",
    )
    include_categories: list[str] = Field(
        [], description="recommend only items of at least one of these categories; empty: of all"
    )
    exclude_categories: list[str] = Field(
        [], description="never recommend items of any of these categories"
    )
    per_category: int = Field(
        0, ge=0, description="most items of one category in a recommendation; 0: any number"
    )
    diversity: float = Field(
        0.0, ge=0, lt=1, description="share of the choice that goes to being unlike the items above"
    )
    review_text: bool = Field(
        True,
        description="read reviews of items that have no text of their own (some .2 ms each)",
    )
    forget: Literal["quick", "exact"] = Field(
        "quick",
        description="quick: a user's rows and counts go at once, and the learnt weights keep what "
        "they taught; exact: a worker then also rebuilds its state from the whole log without them "
        "(a topic of one partition; docs/proof.md)",
    )
    max_users: int = Field(
        1_000_000,
        ge=1,
        le=1 << 24,
        description="users that are known at once; the one who was idle longest makes room",
    )
    max_items: int = Field(
        1_000_000,
        ge=1,
        le=1 << 24,
        description="items that are known at once; the one that neither an event nor the "
        "catalogue named for longest makes room",
    )
    text_cache: int = Field(
        50_000, ge=1, description="texts whose embedding is remembered by their hash"
    )

    @field_validator("kinds")
    @classmethod
    def _forget_stays(cls, kinds: dict[str, float | str]) -> dict[str, float | str]:
        if "forget" in kinds:
            raise ValueError("forget removes a user, whatever its weight: it cannot be set")
        return kinds

    @model_validator(mode="after")
    def _excluding_kinds_are_known(self) -> Self:
        known = Kinds(self.kinds).known
        for kind in self.excludes:
            if kind != ALL_KINDS and kind not in known:
                raise ValueError(
                    f'excludes: {kind!r} is no kind of event; known are "{ALL_KINDS}", '
                    f"{', '.join(known)}"
                )
        return self

    def differing_shape(self, other: EngineSettings) -> list[str]:
        """Settings that differ and that a saved state cannot follow: others apply from now on."""
        return [name for name in _SHAPING if getattr(self, name) != getattr(other, name)]


_SHAPING = (
    "model", "dimensions", "text_dimensions", "neighbours", "transitions", "exact_items",
    "trending_half_life", "surging_half_life",
)  # fmt: skip
