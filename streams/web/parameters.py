"""The parameters of a request's path and query, as the types that the OpenAPI document shows."""

from __future__ import annotations

from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec
from aiohttp import web

from streams.messages.bad_message import BadMessage, shown
from streams.messages.validation import explained
from streams.web.errors import RefusedRequest

T = TypeVar("T")


def of_path(request: web.Request, type_: type[T]) -> T:
    """The parameter of a path, which is its second segment.

    Raises
    ------
    BadMessage
        If it is no UTF-8, or does not fit the type.
    """
    [name] = msgspec.structs.fields(type_)  # type: ignore[arg-type]
    # As it was sent: after aiohttp's decoding, %FF and %25FF are the same.
    raw = request.rel_url.raw_path.split("/")[2].encode(errors="surrogateescape")
    try:
        value = unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise BadMessage("NotUtf8", f"{name.name}: {shown(raw)} is not UTF-8") from None
    return _converted({name.name: value}, type_)


def of_query(request: web.Request, type_: type[T]) -> T:
    """The parameters of a query; one whose field is a tuple may be repeated.

    Raises
    ------
    BadMessage
        If a value does not fit.
    RefusedRequest
        400, if any other parameter is repeated.
    """
    fields: dict[str, Any] = {}
    for field in msgspec.structs.fields(type_):  # type: ignore[arg-type]
        given = request.query.getall(field.name, [])
        if isinstance(field.default, tuple):
            fields[field.name] = given
        elif len(given) > 1:
            raise RefusedRequest(400, f"{field.name}: it comes {len(given)} times; send it once")
        elif given:
            fields[field.name] = given[0]
    return _converted(fields, type_)


def check_names(request: web.Request, type_: type | None) -> None:
    """Return if the query has no parameter but those of a type (None: none at all).

    Raises
    ------
    RefusedRequest
        400, with the name of the first other one.
    """
    known = [] if type_ is None else [field.name for field in msgspec.structs.fields(type_)]
    for name in request.query:
        if name not in known:
            told = f"known are {', '.join(known)}" if known else "there is none here"
            raise RefusedRequest(
                400, f"{shown(name)}: no such parameter; {told}", "UnknownParameter"
            )


def _converted(fields: dict[str, Any], type_: type[T]) -> T:
    try:
        return msgspec.convert(fields, type_, strict=False)
    except msgspec.ValidationError as error:
        raise explained(error, fields) from None
