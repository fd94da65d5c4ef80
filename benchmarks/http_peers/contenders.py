"""What a recommender that answers over HTTP must be able to do to take part, and three that can."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import quote

import msgspec

from benchmarks.http_peers.client import JsonClient, RefusedError
from engine.evaluation.measures import K
from engine.events import Interaction, Item

GORSE_FITS = ("Fit collaborative filtering model", "Find neighbors of items")
GORSE_LISTS = ("Generate offline recommendation",)
"""What gorse's dashboard calls its tasks."""


class HttpContender(Protocol):
    """A recommender behind an HTTP API.

    Attributes
    ----------
    name
        What the table calls it.
    settings
        One line on how it was set up.
    """

    name: str
    settings: str

    def ready(self) -> bool:
        """Whether it takes events and answers queries."""

    def add_items(self, items: Iterable[Item]) -> None:
        """Tell it of items in the catalogue."""

    def feed(self, event: Interaction) -> None:
        """Tell it of an event; returns once it has accepted it."""

    def query(self, user: str) -> list[str]:
        """Its ten for a user, best first."""


class MillraceApi:
    """A Millrace worker; with two of them events go to the one and queries to the other.

    Parameters
    ----------
    base, query_base
        Where events go, and where queries do.
    add_items
        Puts items on the catalogue's topic; the HTTP API has no way in for them.
    """

    def __init__(
        self,
        base: str,
        add_items: Callable[[Iterable[Item]], None],
        query_base: str = "",
        name: str = "Millrace",
        settings: str = "",
    ) -> None:
        self.name, self.settings = name, settings
        self.add_items = add_items
        self._in = JsonClient(base)
        self._out = JsonClient(query_base or base)

    def ready(self) -> bool:
        """As the Protocol says."""
        return self._in.answers("/health/ready") and self._out.answers("/health/ready")

    def feed(self, event: Interaction) -> None:
        """Accepted: Kafka has acknowledged it."""
        self._in.ask("POST", "/interactions", msgspec.to_builtins(event))

    def query(self, user: str) -> list[str]:
        """As the Protocol says."""
        path = f"/users/{quote(user, safe='')}/recommendations?k={K}"
        return [item["item"] for item in self._out.ask("GET", path)["items"]]


class Gorse:
    """gorse 0.4's REST API. Every event is positive feedback of the type `like`.

    References
    ----------
    https://gorse.io/docs/api/restful-api
    """

    name = "gorse"

    def __init__(self, base: str, settings: str = "") -> None:
        self.settings = settings
        self._client = JsonClient(base)

    def ready(self) -> bool:
        """As the Protocol says."""
        return self._client.answers("/api/health/ready")

    def add_items(self, items: Iterable[Item]) -> None:
        """Genres become labels."""
        rows = [
            {
                "ItemId": item.item, "IsHidden": item.hidden, "Categories": [],
                "Labels": list(item.categories), "Timestamp": _rfc3339(item.timestamp or 0),
                "Comment": item.title or "",
            }
            for item in items
        ]  # fmt: skip
        self._client.ask("POST", "/api/items", rows)

    def feed(self, event: Interaction) -> None:
        """Accepted: it is in gorse's database."""
        self.feed_many([event])

    def feed_many(self, events: Sequence[Interaction]) -> None:
        """Several events in one request, which gorse takes."""
        rows = [
            {
                "FeedbackType": "like", "UserId": event.user, "ItemId": event.item,
                "Timestamp": _rfc3339(event.timestamp), "Comment": "",
            }
            for event in events
        ]  # fmt: skip
        self._client.ask("PUT", "/api/feedback", rows)

    def query(self, user: str) -> list[str]:
        """As the Protocol says."""
        found: list[str] = self._client.ask("GET", f"/api/recommend/{quote(user, safe='')}?n={K}")
        return found or []

    def await_models(self, seconds: float = 600.0) -> None:
        """Return when its models were fitted, and lists made of them, on what it knows now.

        Raises
        ------
        TimeoutError
            If that takes too long.
        """
        since = datetime.now(UTC)
        deadline = time.monotonic() + seconds
        for names in GORSE_FITS, GORSE_LISTS:
            while not self._finished(names, since):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"gorse has not done {', '.join(names)} in {seconds:g} s")
                time.sleep(0.5)
            since = datetime.now(UTC)

    def _finished(self, names: Sequence[str], since: datetime) -> bool:
        """Whether all of these tasks have begun since then, and are complete."""
        begun = {
            task["Name"]: datetime.fromisoformat(task["StartTime"][:19] + "+00:00")
            for task in self._client.ask("GET", "/api/dashboard/tasks")
            if task["Status"] == "Complete"
        }
        return all(name in begun and begun[name] >= since for name in names)


class Metarank:
    """Metarank's API, model type `als` (similar items): ten that go with what a user took last.

    Metarank learns in batches. Whenever so many events have come it is asked to `flush` what waits
    in sessions and to `train`; the time of both counts as the feeding of the last of those events.

    References
    ----------
    doc/api.md, doc/event-schema.md and doc/configuration/recommendations/similar.md of
    github.com/metarank/metarank
    """

    name = "Metarank"

    def __init__(
        self, base: str, model: str = "similar", context: int = 10, train_every: int = 1000
    ) -> None:
        self.settings = f"model {model}, last {context} items, trained every {train_every:,} events"
        self._client = JsonClient(base)
        self._model, self._context, self._train_every = model, context, train_every
        self._events = 0
        self._taken: dict[str, list[str]] = {}

    def ready(self) -> bool:
        """As the Protocol says."""
        return self._client.answers("/health")

    def add_items(self, items: Iterable[Item]) -> None:
        """As the Protocol says."""
        events: list[dict[str, Any]] = [
            {
                "event": "item", "id": f"item-{item.item}", "item": item.item,
                "timestamp": str(item.timestamp or 0),
                "fields": [
                    {"name": "title", "value": item.title or ""},
                    {"name": "genres", "value": list(item.categories)},
                ],
            }
            for item in items
        ]  # fmt: skip
        self._feedback(events)

    def feed(self, event: Interaction) -> None:
        """Accepted: `/feedback` says that it is ok."""
        if event.item is None:
            return
        self._feedback(
            [
                {
                    "event": "interaction", "id": event.event_id, "type": "click",
                    "timestamp": str(event.timestamp), "user": event.user, "item": event.item,
                }
            ]
        )  # fmt: skip
        self._taken.setdefault(event.user, []).append(event.item)
        self._events += 1
        if self._events % self._train_every == 0:
            self._client.ask("POST", "/flush")
            self._client.ask("POST", f"/train/{self._model}")

    def query(self, user: str) -> list[str]:
        """Similar items know no user: those that the user has taken are left out here."""
        taken = self._taken.get(user, [])
        if not taken:
            return []
        body = {"count": K + len(taken), "user": user, "items": taken[-self._context :]}
        answer = self._client.ask("POST", f"/recommend/{self._model}", body)
        known = set(taken)
        return [row["item"] for row in answer["items"] if row["item"] not in known][:K]

    def _feedback(self, events: list[dict[str, Any]]) -> None:
        answer = self._client.ask("POST", "/feedback", events)
        if answer["status"] != "ok":
            raise RefusedError(200, f"POST /feedback: {answer}")


def _rfc3339(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat().replace("+00:00", "Z")
