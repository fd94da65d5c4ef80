"""Answers on the topic beside those that are computed again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from streams.kafka.record import Record
from streams.messages.schemas import RankedItem
from streams.tools.audit.history import Entry, Given, read_answer
from streams.worker.delivery import Output

_read_items = msgspec.json.Decoder(list[RankedItem]).decode
_NOT_COUNTED = ("topic", "oldest")
_COMPARED = ("event_id", "user", "item", "kind", "timestamp")


@dataclass
class Comparison:
    """What came of comparing.

    Attributes
    ----------
    topic
        That of the answers.
    oldest
        Of each partition, the interaction of the oldest answer that the topic still holds.
    messages
        Interactions that were looked at.
    equal
        Answers that are equal: the event's fields, items, scores to the last bit, and reasons.
    different
        Answers that are not, or that should not be there.
    same_items, most_score_difference
        Of those that differ, how many have the same items in the same order; and by how much a
        score of theirs differs at most.
    missing
        Interactions whose answer is not there.
    expired
        Those whose answers the topic no longer holds.
    unanswered
        Interactions that have no answer, as it should be: repeated events, dead letters.
    models
        How many answers each model has given, by its digest.
    first_difference
        Both sides of the first answer that differs or is missing.
    """

    topic: str
    oldest: Mapping[int, int]
    messages: int = 0
    equal: int = 0
    different: int = 0
    same_items: int = 0
    most_score_difference: float = 0.0
    missing: int = 0
    expired: int = 0
    unanswered: int = 0
    models: Counter[str] = field(default_factory=Counter)
    first_difference: dict[str, Any] | None = None

    def take(self, entry: Entry, output: Output | None) -> None:
        """Compare what stands on the topic with what is written now."""
        self.messages += 1
        found = output is not None and output.topic == self.topic
        expected = read_answer(output.value or b"") if output and found else None
        given = entry.answer
        if given is not None:
            self.models[given.model.digest] += 1
        if given is None and expected is None:
            self.unanswered += 1
        elif given is not None and expected is not None and _equal(given, expected):
            self.equal += 1
        elif given is None and entry.record.offset < self.oldest[entry.record.partition]:
            self.expired += 1
        else:
            self._differs(entry.record, given, expected, output)

    def _differs(
        self, record: Record, given: Given | None, expected: Given | None, output: Output | None
    ) -> None:
        if given is None:
            self.missing += 1
        else:
            self.different += 1
        if given is not None and expected is not None:
            before, now = _read_items(given.items), _read_items(expected.items)
            if [each.item for each in before] == [each.item for each in now]:
                self.same_items += 1
                for one, other in zip(before, now, strict=True):
                    difference = abs(one.score - other.score)
                    self.most_score_difference = max(self.most_score_difference, difference)
        if self.first_difference is None:
            instead = "nothing: a repeated event"
            if output is not None and expected is None:
                why = dict(output.headers).get("error.message", b"")
                instead = f"a dead letter: {why.decode()}"
            self.first_difference = {
                "partition": record.partition,
                "offset": record.offset,
                "given": _shown(given) or "no answer",
                "computed": _shown(expected) or instead,
            }

    def report(self) -> dict[str, Any]:
        """The counts, and ``all_equal``: whether nothing differs and nothing is missing."""
        counted = {name: value for name, value in vars(self).items() if name not in _NOT_COUNTED}
        return counted | {
            "models": dict(self.models),
            "all_equal": not self.different and not self.missing,
        }


def _equal(given: Given, expected: Given) -> bool:
    if any(getattr(given, name) != getattr(expected, name) for name in _COMPARED):
        return False
    if bytes(given.items) == bytes(expected.items):
        return True
    return _read_items(given.items) == _read_items(expected.items)


def _shown(answer: Given | None) -> dict[str, Any] | None:
    if answer is None:
        return None
    fields = {name: getattr(answer, name) for name in _COMPARED}
    return fields | {"items": msgspec.to_builtins(_read_items(answer.items))}
