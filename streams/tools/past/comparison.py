"""Answers on the topic beside those that are computed again."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec

from streams.kafka.record import Record
from streams.messages.schemas import RankedItem
from streams.tools.past.answers import Given, read_answer
from streams.worker.delivery import Output

_read_items = msgspec.json.Decoder(list[RankedItem]).decode
_COMPARED = ("event_id", "user", "item", "kind", "timestamp", "experiments")


@dataclass
class Comparison:
    """What came of comparing.

    Attributes
    ----------
    topic
        That of the answers.
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
    unanswered
        Interactions that have no answer, as it should be: repeated events, dead letters.
    models
        How many answers each model has given, by its digest.
    first_difference
        Both sides of the first answer that differs or is missing.
    """

    topic: str
    messages: int = 0
    equal: int = 0
    different: int = 0
    same_items: int = 0
    most_score_difference: float = 0.0
    missing: int = 0
    unanswered: int = 0
    models: Counter[str] = field(default_factory=Counter)
    first_difference: dict[str, Any] | None = None

    def take(self, record: Record, output: Output | None, given: Given | None) -> None:
        """Compare what is written now with what stands on the topic."""
        self.messages += 1
        expected = None
        if output is not None and output.topic == self.topic:
            expected = read_answer(output.value or b"")
        if given is not None:
            self.models[given.model.digest] += 1
        if given is None and expected is None:
            self.unanswered += 1
        elif given is not None and expected is not None and are_equal(given, expected):
            self.equal += 1
        else:
            self._differs(record, given, expected, output)

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
        place = (record.partition, record.offset)
        first = self.first_difference
        if first is None or place < (first["partition"], first["offset"]):
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
        counted = {name: value for name, value in vars(self).items() if name != "topic"}
        return counted | {
            "models": dict(self.models),
            "all_equal": not self.different and not self.missing,
        }


def are_equal(given: Given, expected: Given) -> bool:
    """Whether two answers say the same of the same event."""
    if any(getattr(given, name) != getattr(expected, name) for name in _COMPARED):
        return False
    if bytes(given.items) == bytes(expected.items):
        return True
    return _read_items(given.items) == _read_items(expected.items)


def items_of(given: Given) -> list[RankedItem]:
    """The list of an answer."""
    return _read_items(given.items)


def _shown(answer: Given | None) -> dict[str, Any] | None:
    if answer is None:
        return None
    fields = {name: getattr(answer, name) for name in _COMPARED}
    return fields | {"items": msgspec.to_builtins(_read_items(answer.items))}
