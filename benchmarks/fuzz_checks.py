"""What must hold of every message and of every file that claims to be a saved state.

Each check returns whether the input was good, and raises `Broken`, or whatever came out that must
not, on a fault of ours.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Producer

from engine import (
    EngineSettings,
    Interaction,
    Item,
    Recommender,
    SavedStateError,
)
from engine.state import container
from streams.kafka.record import Record
from streams.messages.bad_message import BadMessage
from streams.messages.dead_letters import dead_letter
from streams.messages.decoding import decode_interaction, decode_item
from streams.messages.schemas import encode
from streams.settings import TopicSettings

Headers = Sequence[tuple[str, bytes]]
OURS = ["error.class", "error.message", "origin.topic", "origin.partition", "origin.offset",
        "origin.timestamp"]  # fmt: skip
_QUEUE = 20_000
_MESSAGE_BYTES = TopicSettings().message_bytes


class Broken(AssertionError):  # noqa: N818
    """A promise that an input broke."""


def expect(holds: bool, promise: str) -> None:
    """Raise `Broken` unless it holds."""
    if not holds:
        raise Broken(promise)


class DeadLetters:
    """librdkafka's own queue, which no broker empties: what it takes could be sent."""

    def __init__(self) -> None:
        self._producer = Producer({"bootstrap.servers": "127.0.0.1:1", "log_level": 0})
        self.count = 0

    def bury(self, error: BadMessage, value: bytes | None, headers: Headers) -> None:
        """Make the dead letter of a bad message and queue it."""
        record = Record(3, self.count, 1_700_000_000_000, b"key", value, headers)
        key, value, made = dead_letter(error, "interactions", record, _MESSAGE_BYTES)
        expect(made[: len(headers)] == list(headers), "the message's own headers come first")
        expect([name for name, _ in made[len(headers) :]] == OURS, "and ours are complete")
        for name, content in made[len(headers) :]:
            expect(content.decode() != "" and b"\n" not in content, f"{name} is one line")
        self._producer.produce("dead-letters", value, key, headers=made)
        self.count += 1
        if self.count % _QUEUE == 0:
            # librdkafka counts what it has to tell of its broker, too.
            expect(len(self._producer) >= _QUEUE, "one dead letter for each bad message")
            self._producer.purge()
            self._producer.poll(0)


def check_interaction(value: bytes | None, headers: Headers, letters: DeadLetters) -> bool:
    """Whether it is read; what is read comes back as itself."""
    return _check(decode_interaction, value, headers, letters)


def check_item(value: bytes | None, headers: Headers, letters: DeadLetters) -> bool:
    """Whether it is read; what is read comes back as itself."""
    return _check(decode_item, value, headers, letters)


def _check(
    decode: Callable[[bytes | None, Headers], Interaction | Item],
    value: bytes | None,
    headers: Headers,
    letters: DeadLetters,
) -> bool:
    try:
        message = decode(value, headers)
    except BadMessage as error:
        letters.bury(error, value, headers)
        return False
    expect(decode(encode(message), ()) == message, "what is read is written and read the same")
    return True


# ---------------------------------------------------------------------- saved states


def small_state(folder: Path) -> bytes:
    """The file of an engine that knows a little of everything."""
    engine = Recommender(
        EngineSettings(dimensions=4, text_dimensions=4, neighbours=8, transitions=16, exact_items=2)
    )
    draw = np.random.default_rng(0)
    for number in range(6):
        vector = draw.normal(size=384).astype(np.float32)
        engine.upsert_item(Item(item=f"i{number}", title="T", categories=["c"]), vector)
        engine.observe(
            Interaction(
                event_id="e",
                user=f"u{number % 2}",
                item=f"i{number}",
                kind="rating",
                timestamp=1_700_000_000_000,
                value=number,
            )
        )
    path = folder / "whole"
    engine.save(path)
    return path.read_bytes()


def header_of(whole: bytes) -> dict[str, Any]:
    """What a state's header says, with the JSON in its metadata as objects."""
    (length,) = container._LENGTH.unpack_from(whole)
    found: dict[str, Any] = json.loads(whole[8 : 8 + length])
    for name in ("entries", "settings"):
        found["__metadata__"][name] = json.loads(found["__metadata__"][name])
    return found


def with_header(whole: bytes, header: bytes | dict[str, Any]) -> bytes:
    """The state with another header, whose checksum is right."""
    if isinstance(header, dict):
        said = {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in header["__metadata__"].items()
        }
        header = json.dumps(header | {"__metadata__": said}).encode()
    (length,) = container._LENGTH.unpack_from(whole)
    head = container._LENGTH.pack(len(header)) + header
    return head + whole[8 + length : -32] + hashlib.sha256(head).digest()


def with_entry(whole: bytes, name: str, content: bytes) -> bytes:
    """The state with other bytes in one entry, all checksums right; its shape, if it is JSON."""
    header = header_of(whole)
    (length,) = container._LENGTH.unpack_from(whole)
    data, moved = whole[8 + length :], b""
    for each, said in header.items():
        if each == "__metadata__":
            continue
        start, end = said["data_offsets"]
        held = content if each == name else data[start:end]
        if each == name:
            layout = header["__metadata__"]["entries"][name]
            layout["sha256"] = hashlib.sha256(content).hexdigest()
            if "shape" not in layout:
                said["shape"] = [len(content)]
        said["data_offsets"] = [len(moved), len(moved) + len(held)]
        moved += held
    return with_header(whole[: 8 + length] + moved, header)


def check_state(content: bytes, path: Path) -> bool:
    """Whether an engine is loaded of the file; if not, one line says why."""
    path.write_bytes(content)
    try:
        Recommender.load(path)
    except SavedStateError as error:
        expect(str(error).startswith(f"{path}: "), "the error names the file")
        expect("\n" not in str(error) and len(str(error)) < 2_000, "the error is one line")
        return False
    return True
