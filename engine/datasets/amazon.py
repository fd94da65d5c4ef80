"""Amazon Reviews of 2014, 2018 and 2023 (McAuley Lab, UC San Diego): JSON lines, plain or gzip.

The releases differ in their field names; 2014's metadata are Python dicts, not JSON
(https://jmcauley.ucsd.edu/data/amazon/, https://amazon-reviews-2023.github.io/).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from engine.datasets import fields
from engine.datasets.dataset import FileDataset, stem
from engine.datasets.jsonlines import decode_loose, objects
from engine.datasets.reading import OnRead, rows
from engine.events import Interaction, Item

SUFFIXES = (".json", ".jsonl", ".json.gz", ".jsonl.gz")


class _Review2014(msgspec.Struct):
    reviewerID: str  # noqa: N815 (the file's name for it)
    asin: str
    overall: float
    unixReviewTime: int  # noqa: N815
    reviewText: str | None = None  # noqa: N815
    summary: str | None = None


class _Review2023(msgspec.Struct):
    user_id: str
    parent_asin: str
    rating: float
    timestamp: int
    text: str | None = None
    title: str | None = None


class _Product(msgspec.Struct):
    asin: str = ""
    parent_asin: str = ""
    title: str | None = None
    description: Any = None
    features: Any = None
    categories: Any = None
    category: Any = None
    main_category: str | None = None
    brand: Any = None
    store: Any = None
    price: Any = None


class _Amazon(FileDataset):
    home = "amazon-reviews-2023.github.io"

    def review(
        self,
        file: Path,
        line: int,
        user: str,
        item: str,
        rating: float,
        timestamp: int,
        summary: str | None,
        text: str | None,
    ) -> Interaction:
        parts = (fields.plain(part) for part in (summary or "", text or ""))
        return fields.interaction(
            event_id=self.event_id(file, line),
            user=user.strip(),
            item=item.strip(),
            timestamp=timestamp,
            kind="review",
            value=fields.number("rating", rating),
            text=fields.clip("\n".join(part for part in parts if part)) or None,
        )

    def read_items(self, file: Path) -> Iterator[Item]:
        """Yield the products of a metadata file."""
        lines = rows(file, self.problems)
        return self.convert(file, lines, lambda _, row: _item(decode_loose(row, _Product)))


class Amazon2014(_Amazon):
    """Reviews with ``reviewerID`` and ``unixReviewTime`` in seconds."""

    format = "Amazon Reviews 2014/2018"
    keys = frozenset({"reviewerID", "asin", "overall"})

    def read_interactions(self, file: Path, on_read: OnRead | None) -> Iterator[Interaction]:
        """Yield the reviews of a file."""

        def interaction(line: int, content: bytes) -> Interaction:
            row = decode_loose(content, _Review2014)
            timestamp = row.unixReviewTime * 1000
            return self.review(
                file,
                line,
                row.reviewerID,
                row.asin,
                row.overall,
                timestamp,
                row.summary,
                row.reviewText,
            )

        return self.convert(file, rows(file, self.problems, on_read), interaction)


class Amazon2023(_Amazon):
    """Reviews with ``parent_asin`` and ``timestamp`` in milliseconds."""

    format = "Amazon Reviews 2023"
    keys = frozenset({"user_id", "parent_asin", "rating"})

    def read_interactions(self, file: Path, on_read: OnRead | None) -> Iterator[Interaction]:
        """Yield the reviews of a file."""

        def interaction(line: int, content: bytes) -> Interaction:
            row = decode_loose(content, _Review2023)
            return self.review(
                file,
                line,
                row.user_id,
                row.parent_asin,
                row.rating,
                row.timestamp,
                row.title,
                row.text,
            )

        return self.convert(file, rows(file, self.problems, on_read), interaction)


def release_of(head: list[bytes]) -> type[Amazon2014] | type[Amazon2023] | None:
    """Which release a file of reviews is from, by the fields of its first lines."""
    for row in objects(head):
        for release in (Amazon2014, Amazon2023):
            if release.keys <= row.keys():
                return release
    return None


def is_metadata(file: Path) -> bool:
    """Whether a file is named like one of products (``meta_Books.json.gz``)."""
    return file.name.startswith("meta_") and file.name.endswith(SUFFIXES)


def category_of(file: Path) -> str:
    """``Books`` for ``reviews_Books_5.json.gz``, ``Books_5.json.gz`` and ``meta_Books.jsonl``."""
    return re.sub(r"_\d+$", "", stem(file).removeprefix("reviews_").removeprefix("meta_"))


def _item(row: _Product) -> Item:
    title = fields.plain(row.title or "")
    categories = [fields.plain(c) for c in _strings(row.categories) + _strings(row.category)]
    categories = [c for c in categories if c] or _strings(row.main_category)
    about = f"Categories: {', '.join(dict.fromkeys(categories))}" if categories else ""
    description = fields.plain(" ".join(_strings(row.description)))
    features = [fields.plain(feature) for feature in _strings(row.features)]
    properties = {"brand": row.brand, "store": row.store, "price": row.price}
    return fields.item(
        item=(row.parent_asin or row.asin).strip(),
        title=title,
        text=fields.sentences((title, about, description, *features)),
        categories=categories,
        properties={k: v for k, v in properties.items() if isinstance(v, str | int | float) and v},
    )


def _strings(value: Any) -> list[str]:
    """All strings in a string, a list, or a list of lists."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list | tuple):
        return [text for part in value for text in _strings(part)]
    return []
