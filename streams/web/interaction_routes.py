"""`POST /interactions`: one interaction, or many of a JSON array or of JSON lines, to Kafka."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from aiohttp import web

from engine.events import Interaction
from streams.messages.bad_message import BadMessage
from streams.messages.decoding import decode_interaction
from streams.messages.dialect import Dialect
from streams.messages.limits import check_size, check_work
from streams.messages.schemas import Headers
from streams.settings import Settings
from streams.web.answers import Accepted, ManyAnswered, OneOfMany, answer
from streams.web.errors import Reason, RefusedRequest
from streams.web.message_writer import MessageWriter, kafka_headers
from streams.web.openapi import Operation
from streams.web.parameters import of_query
from streams.web.request_body import body_of, limits, messages_of

_CLOUD_EVENTS = "application/cloudevents-batch+json"
_NOT_WRITTEN = Reason("NotWritten", "another of the request cannot be read (all_or_nothing)")


class HowToWrite(msgspec.Struct, frozen=True):
    """Whether one unreadable interaction keeps all of its request from being written."""

    all_or_nothing: bool = False


class _Readable(NamedTuple):
    """A message, and the interaction that was read from it."""

    value: bytes
    interaction: Interaction


class InteractionRoutes:
    """The handler; it runs in the web server's thread."""

    def __init__(self, writer: MessageWriter, settings: Settings) -> None:
        self._writer = writer
        self._dialect = Dialect.of(settings)
        self._topics = settings.topics
        self._web = settings.web
        self.operations = (
            Operation(
                "POST", "/interactions", "Write an interaction, or many, to Kafka",
                self.post, Accepted, (400, 408, 413, 415, 503), status=202,
                in_query=HowToWrite, body=Interaction, many=ManyAnswered,
            ),
        )  # fmt: skip

    async def post(self, request: web.Request) -> web.Response:
        """Write what the body holds."""
        how = of_query(request, HowToWrite)
        body = await body_of(request, self._web)
        messages = messages_of(body, request.content_type)
        headers = kafka_headers(request.headers.items())
        if messages is not None:
            return await self._post_many(messages, _of_each(headers, request), how)
        value, interaction = self._read(body, headers)
        at = await self._writer.interaction(interaction.user, value, headers)
        return answer(Accepted(interaction.event_id, at.topic, at.partition, at.offset), 202)

    async def _post_many(
        self, messages: Sequence[bytes], headers: Headers, how: HowToWrite
    ) -> web.Response:
        """202 if all are written, 207 if some are, else the lowest status of those refused."""
        read = [self._read_or_refuse(message, headers) for message in messages]
        if how.all_or_nothing and any(isinstance(each, RefusedRequest) for each in read):
            results = [_not_written(each) for each in read]
        else:
            # In order: each is handed to Kafka before the next, and then all are waited for.
            results = await asyncio.gather(*(self._write(each, headers) for each in read))
        accepted = sum(result.error is None for result, _ in results)
        refused = [status for result, status in results if result.error is not None]
        status = 202 if not refused else 207 if accepted else min(refused)
        told = ManyAnswered(
            accepted, len(refused), self._topics.interactions, [result for result, _ in results]
        )
        return answer(told, status)

    async def _write(
        self, read: _Readable | RefusedRequest, headers: Headers
    ) -> tuple[OneOfMany, int]:
        """The result of one interaction, and its status."""
        if isinstance(read, RefusedRequest):
            return OneOfMany(error=read.reason), read.status
        value, interaction = read
        try:
            at = await self._writer.interaction(interaction.user, value, headers)
        except RefusedRequest as error:
            return OneOfMany(interaction.event_id, error=error.reason), error.status
        return OneOfMany(interaction.event_id, at.partition, at.offset), 202

    def _read_or_refuse(self, value: bytes, headers: Headers) -> _Readable | RefusedRequest:
        try:
            return self._read(value, headers)
        except BadMessage as error:
            return RefusedRequest(400, error.message, error.error_class)
        except RefusedRequest as error:
            return error

    def _read(self, value: bytes, headers: Headers) -> _Readable:
        """One interaction, as the worker will read it.

        Raises
        ------
        BadMessage
            If it cannot be read.
        RefusedRequest
            413, if it is too large for the topic or to be parsed.
        """
        with limits():
            check_size(b"", value, headers, self._topics.message_bytes)
            check_work(value)
        interaction = decode_interaction(value, headers, int(time.time() * 1000), self._dialect)
        with limits():
            check_size(interaction.user.encode(), value, headers, self._topics.message_bytes)
        return _Readable(value, interaction)


def _of_each(headers: Headers, request: web.Request) -> Headers:
    """The headers of each of many messages: tracing, and for a batch of CloudEvents its content
    type.

    Raises
    ------
    RefusedRequest
        400, for attributes of a CloudEvent in binary mode, which carries one event.
    """
    if any(name.startswith("ce_") for name, _ in headers):
        raise RefusedRequest(
            400, "ce- headers are of one event; send many as application/cloudevents-batch+json"
        )
    kept = [(name, value) for name, value in headers if name != "content-type"]
    if request.content_type == _CLOUD_EVENTS:
        kept.append(("content-type", b"application/cloudevents+json"))
    return kept


def _not_written(read: _Readable | RefusedRequest) -> tuple[OneOfMany, int]:
    if isinstance(read, RefusedRequest):
        return OneOfMany(error=read.reason), read.status
    return OneOfMany(read.interaction.event_id, error=_NOT_WRITTEN), 400
