"""The OpenAPI document, made of the types that decode requests and encode answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from engine.events import KINDS
from streams.messages.json_schemas import json_schemas, take_numbers
from streams.web.errors import Error
from streams.web.parameters import check_names
from streams.web.request_body import JSON_LINES, MOST_MESSAGES


@dataclass(frozen=True)
class Operation:
    """One operation, for the router and the document.

    Attributes
    ----------
    path
        With the fields of `in_path` in braces.
    summary
        One line for the document.
    handler
        Answers it.
    returns, status
        The type of a success, and its status.
    refusals
        Statuses of failures, beside those of the guards, all with an `Error`.
    in_path, in_query
        Types whose fields are the parameters.
    body
        The type of the body.
    body_rules
        JSON Schema of the body beyond its type.
    many
        The type of the answer to an array of bodies: with the status of a success, 207 if some were
        refused, or a refusal's status if all were.
    """

    method: str
    path: str
    summary: str
    handler: Handler
    returns: type[msgspec.Struct]
    refusals: tuple[int, ...]
    status: int = 200
    in_path: type[msgspec.Struct] | None = None
    in_query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | None = None
    body_rules: Mapping[str, Any] = field(default_factory=dict)
    many: type[msgspec.Struct] | None = None

    def route(self) -> web.RouteDef:
        """The route for aiohttp's router. A parameter is one segment; a slash in it is sent as
        %2F."""
        pattern = re.sub(r"\{(\w+)\}", r"{\1:[^/]+}", self.path)

        async def handle(request: web.Request) -> web.StreamResponse:
            check_names(request, self.in_query)
            return await self.handler(request)

        return web.route(self.method, pattern, handle)

    def answers(self, refusals: Iterable[int]) -> dict[int, list[type[msgspec.Struct]]]:
        """The types of the answer by status, those of `refusals` included."""
        found: dict[int, list[type[msgspec.Struct]]] = {self.status: [self.returns]}
        found |= {status: [Error] for status in refusals}
        if self.many is not None:
            for status in (self.status, 207, *self.refusals):
                found.setdefault(status, []).append(self.many)
        return found


def document(
    operations: Iterable[Operation], token: bool, kinds: Iterable[str] = KINDS
) -> dict[str, Any]:
    """OpenAPI 3.1 of these operations.

    Parameters
    ----------
    token
        Whether they demand a token.
    kinds
        The names of the kinds of events that are known.
    """
    operations = list(operations)
    types = {Error} | {each.returns for each in operations}
    types |= {found for one in operations for found in (one.body, one.many) if found}
    inputs = {each for one in operations for each in (one.in_path, one.in_query) if each}
    _, schemas = msgspec.json.schema_components(
        sorted(types | inputs, key=lambda each: each.__name__),
        ref_template="#/components/schemas/{name}",
    )
    parameters = {each: schemas.pop(each.__name__) for each in inputs}
    if "Interaction" in schemas:  # with what its code checks beside its type
        schemas["Interaction"] |= {
            key: value
            for key, value in json_schemas()["interaction"].items()
            if key in ("if", "else")
        }
        schemas["Interaction"]["properties"]["kind"] |= {"enum": list(kinds)}
        take_numbers(schemas["Interaction"]["properties"])
    paths: dict[str, dict[str, Any]] = {}
    for each in operations:
        refusals = (*each.refusals, 403, 429, *([401] if token else []))
        described = _described(each, parameters, refusals)
        paths.setdefault(each.path, {})[each.method.lower()] = described
    whole: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "Millrace", "version": version("millrace-recommender")},
        "paths": paths,
        "components": {"schemas": schemas},
    }
    if token:
        whole["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        whole["security"] = [{"token": []}]
    return whole


def _described(
    operation: Operation,
    schemas: dict[type[msgspec.Struct], dict[str, Any]],
    refusals: Iterable[int],
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": operation.handler.__name__,
    }
    parameters = [
        {
            "name": name,
            "in": place,
            "required": name in schemas[type_].get("required", ()),
            "schema": schema,
        }
        for place, type_ in (("path", operation.in_path), ("query", operation.in_query))
        if type_ is not None
        for name, schema in schemas[type_]["properties"].items()
    ]
    if parameters:
        found["parameters"] = parameters
    if operation.body is not None:
        found["requestBody"] = {"required": True} | _body(operation)
    found["responses"] = {
        str(status): {
            "description": HTTPStatus(status).phrase,
            "content": {"application/json": {"schema": _one_of(*map(_reference, types))}},
        }
        for status, types in sorted(operation.answers(refusals).items())
    }
    return found


def _body(operation: Operation) -> dict[str, Any]:
    assert operation.body is not None
    one = _reference(operation.body)
    if operation.body_rules:
        one = {"allOf": [one, dict(operation.body_rules)]}
    if operation.many is None:
        return {"content": {"application/json": {"schema": one}}}
    several = {"type": "array", "items": one, "minItems": 1}
    return {
        "description": "Events of Metarank, feedback of gorse and CloudEvents (structured, or "
        f"binary with ce- headers) are taken as well. Many, {MOST_MESSAGES} at most, come as an "
        f"array, or one a line as {JSON_LINES[0]}; Content-Encoding: gzip is unpacked.",
        "content": {"application/json": {"schema": _one_of(one, several)}},
    }


def _one_of(*schemas: dict[str, Any]) -> dict[str, Any]:
    return schemas[0] if len(schemas) == 1 else {"anyOf": list(schemas)}


def _reference(type_: type[msgspec.Struct]) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{type_.__name__}"}
