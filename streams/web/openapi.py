"""The OpenAPI document, made of the types that decode requests and encode answers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from engine.events import KINDS
from streams.messages.json_schemas import json_schemas
from streams.web.errors import Error


@dataclass(frozen=True)
class Operation:
    """One thing that can be asked, as the router and the document have it.

    Attributes
    ----------
    path
        With the fields of `in_path` in braces.
    summary
        One line for the document.
    handler
        Answers it.
    returns, status
        What a success holds, and its status.
    refusals
        Other statuses that it has, beside those of the guards, all with an `Error`.
    in_path, in_query
        Types whose fields are the parameters.
    body
        What is sent.
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

    def route(self) -> web.RouteDef:
        """It for the router. A parameter is one segment; a slash in it comes as %2F."""
        pattern = re.sub(r"\{(\w+)\}", r"{\1:[^/]+}", self.path)
        return web.route(self.method, pattern, self.handler)


def document(
    operations: Iterable[Operation], token: bool, kinds: Iterable[str] = KINDS
) -> dict[str, Any]:
    """OpenAPI 3.1 of these operations.

    Parameters
    ----------
    token
        Whether they ask for one.
    kinds
        The names of the kinds of events that are known.
    """
    operations = list(operations)
    types = {Error} | {each.returns for each in operations}
    types |= {each.body for each in operations if each.body}
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
        found["requestBody"] = {
            "required": True,
            "description": "Events of Metarank, feedback of gorse and CloudEvents (structured, or "
            "binary with ce- headers) are taken as well, as they are on the topic.",
            "content": {"application/json": _reference(operation.body)},
        }
    answers = {operation.status: operation.returns} | dict.fromkeys(refusals, Error)
    found["responses"] = {
        str(status): {
            "description": HTTPStatus(status).phrase,
            "content": {"application/json": _reference(type_)},
        }
        for status, type_ in sorted(answers.items())
    }
    return found


def _reference(type_: type[msgspec.Struct]) -> dict[str, Any]:
    return {"schema": {"$ref": f"#/components/schemas/{type_.__name__}"}}
