"""The messages that Millrace writes: JSON in UTF-8.

What it reads is `engine.events.Interaction` and `engine.events.Item`, by
`streams.messages.decoding`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engine.events import Item

Headers = Sequence[tuple[str, bytes]]
TRACING = ("traceparent", "tracestate")
"""Headers of W3C Trace Context, which an answer carries on from its event."""


class RankedItem(msgspec.Struct, frozen=True):
    """One recommended item, the score it was ranked by (a logit) and why."""

    item: str
    score: float
    reason: str


class Model(msgspec.Struct, frozen=True, omit_defaults=True):
    """What made the ranking.

    `digest` differs when anything differs that decides an answer (`streams.worker.pins`): settings,
    sources, libraries, the trained model, the text encoder.
    """

    name: str
    version: str
    digest: str = ""


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
    """The message that is answered.

    `topic_id` is Kafka's id of the topic: one that is deleted and made anew has another, and its
    offsets mean other messages. Empty on the embedded broker, which tells none.
    """

    topic: str
    partition: int
    offset: int
    topic_id: str = ""


class LatencyUs(msgspec.Struct, kw_only=True, frozen=True):
    """How long each stage took, in microseconds.

    `queue` is from the message's broker timestamp to when the worker received it: two wall clocks,
    the broker's or producer's in milliseconds and the worker's, so it is only as good as they
    agree. All others are of the worker's monotonic clock. `total` is from received to handed to
    the producer. A stage that an event does not need took 0.
    """

    queue: float
    decode: float
    graph: float = 0.0
    propagate: float = 0.0
    text: float = 0.0
    rank: float = 0.0
    learn: float = 0.0
    emit: float
    total: float


class Recommendation(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A user's recommendations, best first, in answer to one interaction.

    `event_id`, `user`, `item`, `kind` and `timestamp` are the interaction's; `experiments` names
    the user's arm of each experiment, and is left out where there is none.
    """

    event_id: str
    user: str
    item: str | None
    kind: str
    items: list[RankedItem]
    timestamp: int
    model: Model
    source: Source
    latency_us: LatencyUs
    experiments: dict[str, str] = msgspec.field(default_factory=dict)


class ItemEmbedding(msgspec.Struct, kw_only=True, frozen=True):
    """An item and the embedding of its text.

    `encoder` is the model's name and the beginning of its weights' hash: embeddings of different
    encoders do not compare. `embedding` is as `pack` writes it. Both are empty without text.
    """

    item: Item
    encoder: str
    embedding: str


_ENCODER = msgspec.json.Encoder()


def encode(message: msgspec.Struct) -> bytes:
    """The message as JSON in UTF-8."""
    return _ENCODER.encode(message)
