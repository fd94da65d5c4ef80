"""What a training says of itself."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class TrainingError(ValueError):
    """A training that cannot be; one line that says why."""


class TrainingReport(BaseModel):
    """What a training took and gave. Times are wall clock, of training alone: no export."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: float = Field(description="training, without export and without what it builds on")
    epochs: int
    epoch_losses: list[float] = Field(description="mean loss of each epoch")
    epoch_seconds: list[float] = Field(description="training seconds until the end of each epoch")
    epoch_quality: list[float] = Field(
        default=[], description="NDCG@10 on the validation part after each epoch, if asked for"
    )
    seconds_to_quality: float | None = Field(
        default=None, description="training seconds until the target NDCG@10, if it was reached"
    )
    start_seconds: float = Field(
        default=0.0, description="training seconds of the model that it builds on"
    )
    parameters: int = Field(default=0, description="learnt numbers")
    trainable_parameters: int = Field(default=0, description="those that training moved")
    memory_mb_per_rank: list[float] = Field(
        default=[], description="peak resident memory of each training process, MB"
    )
    notes: list[str] = []
