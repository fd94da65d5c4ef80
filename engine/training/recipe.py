"""A recipe: everything that tells one trained configuration from another, in one TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

WORDLLAMA = "wordllama"
"""`text.encoder` of the packaged token embeddings; see `engine.text.tokens`."""
_FOLDER = Path(__file__).with_name("recipes")


class RecipeError(ValueError):
    """A recipe that does not fit; one line that names field, value and file."""


class Part(BaseModel):
    """A table of a recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TextPart(Part):
    """The text side (Eq. 2)."""

    encoder: str = Field(
        "minilm",
        description="minilm; wordllama, packaged token embeddings of large language models; or the "
        "name or folder of a Hugging Face encoder or decoder",
    )
    pooling: Literal["mean", "last"] = Field(
        "mean", description="of token embeddings; last for decoders"
    )
    tune: Literal["full", "lora", "none", "static"] = Field(
        "full",
        description="what of the encoder is learnt; lora: adapters, of a decoder in its attention; "
        "static: a mean of learnt token embeddings in its place",
    )
    epochs: int = Field(2, ge=0, description="over the items, in learning what is taken together")
    learning_rate: float = Field(3e-5, gt=0)
    tokens: int = Field(128, ge=4, le=512, description="of a request's text at most")
    item_tokens: int = Field(24, ge=4, le=512, description="of an item's text, in training")
    dimensions: int = Field(32, ge=4, le=256, description="that an embedding is projected to")
    side: bool = Field(True, description="categories and years are read beside the text")
    lora_rank: int = Field(8, ge=1, le=256)
    lora_layers: int = Field(
        1,
        ge=1,
        description="last layers that get adapters; those below run once for each text in BERT's "
        "form of an encoder",
    )


class DeepSpeedPart(Part):
    """Training by DeepSpeed in several processes, its ranks."""

    ranks: int = Field(2, ge=1, le=64)
    zero_stage: Literal[0, 1, 2] = Field(
        2, description="of ZeRO, in training the graph and the head"
    )
    pipeline_stages: int = Field(
        2, ge=1, description="that the encoder's layers are parted into, as many as ranks; or 1"
    )


class Serving(Part):
    """How the model is served."""

    aggregator: Literal["numba", "int8", "numpy", "pynq"] = "numba"
    int8: bool = Field(False, description="encoder and tables in 8 bits")
    init_inference: bool = Field(
        False, description="the encoder behind DeepSpeed's inference engine"
    )


class Recipe(Part):
    """One configuration of the paper's tables."""

    name: str = Field(min_length=1)
    description: str
    start: str | None = Field(
        None, description="recipe that this one builds on: its teacher, or what it quantises"
    )
    epochs: int = Field(18, ge=0, description="of the graph and the head; 0 takes those of `start`")
    short: bool = Field(False, description="few epochs, to see it run; not to be measured")
    quick_epochs: int = Field(2, ge=0, description="of a quick run")
    learning_rate: float = Field(0.01, gt=0)
    graph: bool = Field(True, description="learn embeddings of users and items, propagated (Eq. 1)")
    dimensions: int = Field(24, ge=4, le=128, description="of one member's embedding")
    members: int = Field(4, ge=1, le=16, description="models side by side, averaged")
    take_dimensions: int = Field(32, ge=4, le=128, description="that say what is taken, not liked")
    fanout: int = Field(256, ge=1, le=1024, description="neighbours sampled for a node in training")
    text: TextPart | None = None
    deepspeed: DeepSpeedPart | None = None
    serving: Serving = Serving()

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if not self.graph and self.text is None:
            raise ValueError("a recipe needs graph = true, [text] or both")
        if self.start is None and self.epochs == 0:
            raise ValueError("epochs = 0 needs the recipe that it takes from: start")
        if self.text and self.text.encoder == WORDLLAMA and self.text.tune != "static":
            raise ValueError(f'encoder = "{WORDLLAMA}" has no network: text.tune = "static"')
        if self.deepspeed and self.deepspeed.pipeline_stages not in (1, self.deepspeed.ranks):
            raise ValueError("pipeline_stages is 1, or as many as ranks")
        return self

    @property
    def distils(self) -> bool:
        """Whether it learns from what `start` says, instead of taking it over."""
        return self.start is not None and self.epochs > 0

    def quick(self) -> Recipe:
        """The same with few epochs, to see it run."""
        text = self.text and self.text.model_copy(update={"epochs": min(self.text.epochs, 1)})
        epochs = min(self.epochs, self.quick_epochs)
        return self.model_copy(update={"epochs": epochs, "text": text, "short": True})


def recipes() -> list[str]:
    """Names of the recipes that come with Millrace, in the order of the tables."""
    return [
        "gnn", "llm", "hybrid", "hybrid-int8", "hybrid-distilled", "hybrid-lora",
        "hybrid-deepspeed", "hybrid-fpga-deepspeed", "hybrid-llm-static",
    ]  # fmt: skip


def load_recipe(name: str) -> Recipe:
    """The recipe of that name, or of that file if it ends in .toml.

    Raises
    ------
    RecipeError
        If there is none, or it does not fit.
    """
    if not name.endswith(".toml") and name not in recipes():
        raise RecipeError(f"recipe {name!r}: there are {', '.join(recipes())}, and files (.toml)")
    file = Path(name) if name.endswith(".toml") else _FOLDER / f"{name}.toml"
    try:
        return Recipe.model_validate(tomllib.loads(file.read_text()))
    except OSError as error:
        raise RecipeError(f"{file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{file}: {error}") from None
    except ValidationError as error:
        faults = (
            f"{'.'.join(map(str, e['loc'])) or 'recipe'} = {e['input']!r}: {e['msg']}"
            if e["loc"]
            else e["msg"]
            for e in error.errors()
        )
        raise RecipeError(f"{file}: {'; '.join(faults)}") from None
