"""The routes of users: recommendations, their interactions, and to be forgotten."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta
from msgspec.structs import replace as replaced

from engine import lookup
from engine.events import Id
from engine.lookup import Taken
from engine.recommender import Recommender
from engine.rules import Rules
from streams.experiments.arms import Arms, Treatment
from streams.experiments.lists import explain, recommend
from streams.messages.bad_message import shown
from streams.messages.forget_request import forget_request
from streams.messages.schemas import Model, encode
from streams.web.answers import Accepted, UserInteractions, UserRecommendations, answer
from streams.web.errors import RefusedRequest
from streams.web.forwarding import Forwarding
from streams.web.lists import Categories, Count, of_categories, with_titles
from streams.web.message_writer import MessageWriter
from streams.web.openapi import Operation
from streams.web.parameters import of_path, of_query
from streams.web.ready_engine import ReadyEngine

_NEAR = 50
"""Least number of neighbours that are looked at for a list in the context of an item."""


class OfUser(msgspec.Struct, frozen=True):
    """The user in the path."""

    user: Id


class Wanted(msgspec.Struct, frozen=True):
    """What a list must keep to.

    Attributes
    ----------
    k
        How many items; without it, `engine.k` or what the user's arm of an experiment has.
    include, exclude
        Categories: items of at least one of these, of none of those; in place of the settings'.
    exclude_item
        Items to leave out, as those that the page shows already.
    exclude_seen
        Whether to leave out all items that the user took, viewed or disliked.
    context
        An item: only what goes with it is wanted, and never itself.
    explain
        Whether to say of each item what each feature adds to its score, and with which of the
        user's own items it goes.
    """

    k: Count | None = None
    include: Categories = ()
    exclude: Categories = ()
    exclude_item: Annotated[tuple[Id, ...], Meta(max_length=1000)] = ()
    exclude_seen: bool = False
    context: Id | None = None
    explain: bool = False


class UserRoutes:
    """The handlers; they run in the web server's thread.

    Parameters
    ----------
    arms
        The arms of all experiments.
    forgets
        Whether users may be forgotten by `DELETE`: the server has a token.
    """

    def __init__(
        self,
        ready: ReadyEngine,
        forwarding: Forwarding,
        model: Model,
        writer: MessageWriter,
        arms: Arms,
        forgets: bool,
    ) -> None:
        self._ready = ready
        self._forwarding = forwarding
        self._model = model
        self._writer = writer
        self._arms = arms
        self._forgets = forgets
        self.operations = (
            Operation(
                "GET", "/users/{user}/recommendations", "A user's best items now",
                self.recommendations, UserRecommendations, (400, 404, 503),
                in_path=OfUser, in_query=Wanted,
            ),
            Operation(
                "GET", "/users/{user}", "What a user took, newest first",
                self.interactions, UserInteractions, (400, 503), in_path=OfUser,
            ),
            Operation(
                "DELETE", "/users/{user}", "Forget a user; only where web.token is set",
                self.forget, Accepted, (400, 503), status=202, in_path=OfUser,
            ),
        )  # fmt: skip

    async def recommendations(self, request: web.Request) -> web.StreamResponse:
        """The user's list; for an unknown user, what is trending."""
        user, wanted = of_path(request, OfUser).user, of_query(request, Wanted)
        # While the user moves between workers, what is trending is better than nothing.
        heard = await self._forwarding.elsewhere(request, user, or_here=True)
        if heard is not None:
            return heard
        engine, now = self._ready.engine, time.time_ns() // 1_000_000

        def look() -> UserRecommendations:
            arms = self._arms.of(user)
            treatment = self._arms.treatment(arms)
            rules = _rules(engine, treatment, wanted)
            found = recommend(engine, treatment, user, now, "asked", wanted.k, rules)
            known, items = lookup.knows_user(engine, user), with_titles(engine, found.items)
            if wanted.explain:
                features = explain(engine, treatment, user, found.items, now)
                items = [
                    replaced(
                        item, features=added, goes_with=lookup.origins(engine, user, item.item)
                    )
                    for item, added in zip(items, features, strict=True)
                ]
            return UserRecommendations(user, known, items, self._model, arms)

        return answer(await self._ready.ask(look))

    async def interactions(self, request: web.Request) -> web.StreamResponse:
        """The user's interactions."""
        user, engine = of_path(request, OfUser).user, self._ready.engine
        if (heard := await self._forwarding.elsewhere(request, user)) is not None:
            return heard

        def look() -> UserInteractions:
            taken: list[Taken] = lookup.recent(engine, user)
            return UserInteractions(user, lookup.knows_user(engine, user), taken)

        return answer(await self._ready.ask(look))

    async def forget(self, request: web.Request) -> web.Response:
        """Write a `forget` of the user."""
        user = of_path(request, OfUser).user
        if not self._forgets:
            raise RefusedRequest(
                403, "DELETE forgets a user for good: set MILLRACE_WEB__TOKEN, and send it"
            )
        event = forget_request(user)
        at = await self._writer.interaction(user, encode(event), [])
        return answer(Accepted(event.event_id, at.topic, at.partition, at.offset), 202)


def _rules(engine: Recommender, treatment: Treatment, wanted: Wanted) -> Rules:
    """The user's rules with those of a request; raises `RefusedRequest` (404)."""
    rules = of_categories(treatment.rules, wanted.include, wanted.exclude)
    without = frozenset(wanted.exclude_item)
    only = None
    if wanted.context is not None:
        if not lookup.knows_item(engine, wanted.context):
            raise RefusedRequest(404, f"context: item {shown(wanted.context)} is not known")
        near = lookup.neighbours(engine, wanted.context, max(_NEAR, 5 * (wanted.k or treatment.k)))
        only, without = frozenset(each.item for each in near), without | {wanted.context}
    return replace(rules, only=only, without=without, unseen=wanted.exclude_seen)
