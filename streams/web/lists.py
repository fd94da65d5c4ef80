"""Lists of items as the API and the page show them, and the categories that they keep to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated

from msgspec import Meta

from engine import lookup
from engine.recommender import Recommender
from engine.rules import Rules
from engine.step.ranking import Ranked
from streams.messages.schemas import RankedItem
from streams.web.answers import RecommendedItem

Count = Annotated[int, Meta(ge=1, le=100)]
Category = Annotated[str, Meta(min_length=1, max_length=256)]
Categories = Annotated[tuple[Category, ...], Meta(max_length=100)]


def of_categories(rules: Rules, include: Iterable[str], exclude: Iterable[str]) -> Rules:
    """Rules with these categories in place of their own; an empty one changes nothing."""
    return replace(
        rules,
        include=frozenset(include) or rules.include,
        exclude=frozenset(exclude) or rules.exclude,
    )


def with_titles(
    engine: Recommender, ranked: Iterable[Ranked | RankedItem]
) -> list[RecommendedItem]:
    """A list of the engine, or of an answer, with titles for people."""
    return [
        RecommendedItem(entry.item, lookup.title(engine, entry.item), entry.score, entry.reason)
        for entry in ranked
    ]
