"""JSON Schema of every message."""

from __future__ import annotations

from typing import Any

import msgspec

from engine.events import Interaction, Item
from streams.messages.dead_letters import DeadLetterHeaders
from streams.messages.schemas import ItemEmbedding, Recommendation


def json_schemas() -> dict[str, dict[str, Any]]:
    """JSON Schema (2020-12) of each message that Millrace reads or writes, by its name."""
    types = {
        "interaction": Interaction,
        "item": Item,
        "item-embedding": ItemEmbedding,
        "recommendation": Recommendation,
        "dead-letter-headers": DeadLetterHeaders,
    }
    schemas = {}
    for name, type_ in types.items():
        dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": name}
        schemas[name] = dialect | msgspec.json.schema(type_)
    for name in ("interaction", "item"):
        take_numbers(schemas[name]["$defs"][types[name].__name__]["properties"])
    # what Interaction checks in code: only a forget names no item
    schemas["interaction"] |= {
        "if": {"properties": {"kind": {"const": "forget"}}},
        "else": {
            "required": ["item"],
            "properties": {"item": {"type": ["string", "integer"]}},
        },
    }
    return schemas


def take_numbers(properties: dict[str, Any]) -> None:
    """Have the ids among the fields of an interaction or item be whole numbers, too."""
    for name in ("event_id", "user", "item"):
        if name in properties:
            number = {"type": "integer", "description": "taken as the text of its digits"}
            properties[name] = {"anyOf": [properties[name], number]}
