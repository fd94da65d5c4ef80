"""A recipe: everything that tells one trained configuration from another, in one TOML file."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class RecipeError(ValueError):
    """A recipe that does not fit; one line that names field, value and file."""


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GraphPart(Part):
    """The graph side (Eq. 1): learnt embeddings, propagated both ways."""

    dimensions: int = Field(16, ge=8, le=128, description="width of one member's embedding")
    members: int = Field(4, ge=1, le=16, description="models trained side by side and averaged")
    fanout: int = Field(48, ge=1, le=1024, description="neighbours sampled for each node")


class TextPart(Part):
    """The text side (Eq. 2)."""

    encoder: str = Field(
        "minilm", description="minilm, or the name or folder of a Hugging Face encoder"
    )
    pooling: Literal["mean", "last"] = Field(
        "mean", description="of token embeddings; last for decoders"
    )
    tune: Literal["full", "lora", "none"] = Field(
        "full", description="what of the encoder is learnt"
    )
    static: bool = Field(
        False, description="a mean of learnt token embeddings, in place of the encoder"
    )
    lora_rank: int = Field(8, ge=1, le=256)
    lora_layers: int = Field(
        2, ge=1, description="last layers that get adapters; those below are run once"
    )
    tokens: int = Field(32, ge=4, le=512, description="of an item's text at most")
    epochs: int = Field(
        2, ge=0, description="over what users took together, before the rest is learnt"
    )


class DeepSpeedPart(Part):
    """Training on several ranks, with DeepSpeed."""

    ranks: int = Field(2, ge=1, le=64)
    zero_stage: int = Field(2, ge=0, le=3)
    pipeline_stages: int = Field(1, ge=1, le=64, description="more than 1: pipeline parallelism")


class Serving(Part):
    """How the model is served."""

    aggregator: Literal["numba", "int8", "numpy", "pynq"] = "numba"
    precision: Literal["fp32", "int8"] = Field(
        "fp32", description="of the encoder and of the tables"
    )
    init_inference: bool = Field(
        False, description="the encoder behind DeepSpeed's inference engine"
    )


class Recipe(Part):
    """One configuration of the paper's tables."""

    name: str = Field(min_length=1)
    description: str
    epochs: int = Field(30, ge=1)
    quick_epochs: int = Field(2, ge=1, description="epochs of a quick run")
    learning_rate: float = Field(0.01, gt=0)
    graph: GraphPart | None = None
    text: TextPart | None = None
    start: str | None = Field(
        None, description="recipe that this one builds on: its teacher, or what it quantises"
    )
    distill: bool = Field(False, description="learn the scores and embeddings of `start`")
    deepspeed: DeepSpeedPart | None = None
    serving: Serving = Serving()

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.graph is None and self.text is None:
            raise ValueError("a recipe needs [graph], [text] or both")
        if self.distill and self.start is None:
            raise ValueError("distill = true needs the recipe to learn from: start")
        return self

    def quick(self) -> Recipe:
        """The same with few epochs, to see it run."""
        text = self.text and self.text.model_copy(update={"epochs": min(self.text.epochs, 1)})
        return self.model_copy(update={"epochs": self.quick_epochs, "text": text})


def recipes() -> list[str]:
    """Names of the recipes that come with Millrace, in the order of the paper's tables."""
    return [
        "gnn", "llm", "hybrid", "hybrid-int8", "hybrid-distilled", "hybrid-lora",
        "hybrid-deepspeed", "hybrid-fpga-deepspeed",
    ]  # fmt: skip


def load_recipe(name: str) -> Recipe:
    """The recipe of that name, or of that file if it ends in .toml.

    Raises
    ------
    RecipeError
        If there is none, or it does not fit.
    """
    raise NotImplementedError
