"""The Yelp Open Dataset (https://www.yelp.com/dataset), as JSON lines or in its CSV form."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from engine.datasets import fields
from engine.datasets.dataset import FileDataset
from engine.datasets.jsonlines import decode, objects
from engine.datasets.reading import OnRead, csv_rows, rows
from engine.events import Interaction, Item


class _Review(msgspec.Struct):
    user_id: str
    business_id: str
    stars: float | str
    date: str
    text: str | None = None
    review_id: str = ""


class _Business(msgspec.Struct):
    business_id: str
    name: str | None = ""
    categories: str | None = ""
    city: str | None = ""
    state: str | None = ""


class _Yelp(FileDataset):
    home = "the Yelp Open Dataset at business.yelp.com/data/resources/open-dataset"

    def review(self, file: Path, line: int, row: _Review) -> Interaction:
        return fields.interaction(
            event_id=row.review_id.strip() or self.event_id(file, line),
            user=row.user_id.strip(),
            item=row.business_id.strip(),
            timestamp=fields.date("date", row.date),
            kind="review",
            value=fields.number("stars", row.stars),
            text=fields.clip((row.text or "").strip()) or None,
        )

    def business(self, row: _Business) -> Item:
        # The CSV form quotes names twice, and parts categories with semicolons.
        name = (row.name or "").strip().strip('"').strip()
        parts = map(str.strip, re.split(r"[,;]", row.categories or ""))
        categories = [category for category in parts if category]
        place = ", ".join(filter(None, (row.city, row.state)))
        about = f"Categories: {', '.join(categories)}" if categories else ""
        return fields.item(
            item=row.business_id.strip(),
            title=name,
            text=fields.sentences((name, about, place)),
            categories=categories,
            properties={k: v for k, v in (("city", row.city), ("state", row.state)) if v},
        )


class YelpJSON(_Yelp):
    """``yelp_academic_dataset_review.json`` and ``…_business.json``."""

    format = "Yelp JSON"
    interaction_names = ("yelp_academic_dataset_review.json",)
    item_names = ("yelp_academic_dataset_business.json",)

    @staticmethod
    def fits(head: list[bytes]) -> bool:
        """Whether a line is a review of a business."""
        return any({"user_id", "business_id", "stars"} <= row.keys() for row in objects(head))

    def read_interactions(self, file: Path, on_read: OnRead | None) -> Iterator[Interaction]:
        """Yield the reviews of a file."""
        return self.convert(
            file,
            rows(file, self.problems, on_read),
            lambda line, row: self.review(file, line, decode(row, _Review)),
        )

    def read_items(self, file: Path) -> Iterator[Item]:
        """Yield the businesses of a file."""
        return self.convert(
            file,
            rows(file, self.problems),
            lambda _, row: self.business(decode(row, _Business)),
        )


class YelpCSV(_Yelp):
    """``yelp_review.csv`` and ``yelp_business.csv``, with the JSON's names in the header."""

    format = "Yelp CSV"
    interaction_names = ("yelp_review.csv",)
    item_names = ("yelp_business.csv",)
    columns = ("user_id", "business_id", "stars", "date")

    @classmethod
    def fits(cls, head: list[bytes]) -> bool:
        """Whether the header names users, businesses and stars."""
        return bool(head) and all(name.encode() in head[0] for name in cls.columns)

    def read_interactions(self, file: Path, on_read: OnRead | None) -> Iterator[Interaction]:
        """Yield the reviews of a file."""
        records = csv_rows(file, self.problems, self.columns, ("text", "review_id"), on_read)
        return self.convert(file, records, lambda line, row: self.review(file, line, _Review(*row)))

    def read_items(self, file: Path) -> Iterator[Item]:
        """Yield the businesses of a file."""
        records = csv_rows(
            file, self.problems, ("business_id", "name"), ("categories", "city", "state")
        )
        return self.convert(file, records, lambda _, row: self.business(_Business(*row)))
