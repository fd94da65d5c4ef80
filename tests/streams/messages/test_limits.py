"""What is too large is buried, and stops nothing, however little the topics take."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import msgspec
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from engine.events import Item
from engine.text.encoder import TextEncoder
from streams.brokers import KafkaServer
from streams.kafka import clients
from streams.kafka.record import Record
from streams.messages.bad_message import BadMessage
from streams.messages.dead_letters import dead_letter
from streams.messages.decoding import decode_interaction
from streams.messages.limits import ENVELOPE_BYTES, EVENT_DIGITS, check_size, check_work
from streams.messages.schemas import ItemEmbedding, encode
from streams.settings import Settings
from tests.streams.conftest import FIRST_MS, Path, interaction

LIMIT = 70_000


@pytest.mark.parametrize(
    ("key", "value", "headers", "told"),
    [
        (b"k" * 1000, b"v" * (LIMIT - 1001), [("h", b"")], None),
        (b"k" * 1000, b"v" * (LIMIT - 1000), [("h", b"")], f"{LIMIT + 1} bytes"),
        (b"k" * ENVELOPE_BYTES, None, [], None),
        (b"k" * ENVELOPE_BYTES, None, [("h", b"")], f"have {ENVELOPE_BYTES + 1} bytes"),
        (None, None, [("hé", None)] * ENVELOPE_BYTES, f"have {3 * ENVELOPE_BYTES} bytes"),
        (None, None, [], None),
    ],
)
def test_the_limit_is_exact(
    key: bytes | None,
    value: bytes | None,
    headers: list[tuple[str, bytes]],
    told: str | None,
) -> None:
    if told is None:
        check_size(key, value, headers, LIMIT)
    else:
        with pytest.raises(BadMessage, match=told) as error:
            check_size(key, value, headers, LIMIT)
        assert error.value.error_class == "TooLong"
    letter = dead_letter(BadMessage("Late", "?"), "t", Record(0, 0, -1, key, value, headers), LIMIT)
    size = len(key or b"") + len(value or b"")
    size += sum(len(name.encode()) + len(held or b"") for name, held in headers)
    whole = size <= LIMIT
    assert (letter.key, letter.value) == ((key, value) if whole else (None, None))
    assert letter.headers[:-6] == (headers if whole else [])


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_messages_beyond_the_limit_stop_no_worker(
    settings: Callable[..., Settings], broker: KafkaServer
) -> None:
    """Another made the input topics, for messages ten times as large as the others take."""
    wanted = settings(topics={"partitions": 1, "message_bytes": LIMIT})
    names = wanted.topics
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    large = {"max.message.bytes": str(10 * LIMIT)}
    topics = [NewTopic(name, 1, 1, config=large) for name in (names.interactions, names.items)]
    for made in admin.create_topics(topics).values():
        made.result()
    path = Path(wanted)
    producer = clients.producer(wanted, **{"message.max.bytes": 10 * LIMIT})

    def send(topic: str, value: bytes, **more: object) -> None:
        producer.produce(topic, value, partition=0, **more)

    event = encode(interaction(1))
    padded = event[:-1] + b" " * (2 * LIMIT) + b"}"
    send(names.interactions, padded, key=b"ann")
    send(names.interactions, event, key=b"k" * (2 * LIMIT))
    send(names.interactions, event, headers=[("traceparent", b"t" * (LIMIT - 5000))])
    numbers = ",".join(["1e15"] * 9000)  # as text twice and more as long when written again
    item = f'{{"item": "m", "title": "M", "properties": {{"p": [{numbers}]}}}}'.encode()
    assert len(item) < LIMIT
    send(names.items, item, key=b"m")
    send(names.items, b'{"item": "m", "title": "' + b"x" * (2 * LIMIT) + b'"}', key=b"m")
    send(names.item_embeddings, b"rubbish", key=b"m")
    wrong = ItemEmbedding(item=Item(item="m"), encoder=TextEncoder.name, embedding="AAAA")
    send(names.item_embeddings, encode(wrong), key=b"m")
    send(names.interactions, event, key=b"ann")
    assert producer.flush(30) == 0
    with path.worker() as worker:
        [answer] = path.answers(1)
        letters = path.read(names.dead_letters, 5)
        assert worker.running
    assert answer["source"]["offset"] == 3
    found = {}
    for letter in letters:
        headers = {name: text.decode() for name, text in clients.headers(letter).items()}
        assert headers["error.class"] == "TooLong"
        origin = (headers["origin.topic"], int(headers["origin.offset"]))
        found[origin] = (letter.value(), headers["error.message"])
    assert found[names.interactions, 0][0] is None
    assert f"at most topics.message_bytes = {LIMIT}" in found[names.interactions, 0][1]
    assert found[names.interactions, 1][0] is None
    assert "key and headers" in found[names.interactions, 1][1]
    assert found[names.interactions, 2][0] == event
    assert found[names.items, 0][0] == item
    assert "the item and its embedding" in found[names.items, 0][1]
    assert found[names.items, 1][0] is None


def test_nesting_costs_no_stack() -> None:
    """A decoder that recursed for each level would end the process, not raise."""
    code = """
from streams.messages.bad_message import BadMessage
from streams.messages.decoding import decode_interaction, decode_item
for decode in decode_interaction, decode_item:
    for opening in b"[", b'{"a":', b'{"properties":[', b'{"event_id":"x","properties":{"a":[':
        try:
            decode(opening * 1_000_000)
        except BadMessage as error:
            print(error.error_class)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, set(done.stdout.split())) == (0, {"TooDeep"}), done.stderr
    assert done.stdout.count("TooDeep") == 8


def _value(**fields: object) -> bytes:
    event = {"event_id": "e1", "user": "ann", "item": "m1", "kind": "view", "timestamp": FIRST_MS}
    return msgspec.json.encode(event | fields)


WORK = {
    "longest text, escaped": (
        _value(text="x").replace(b'"x"', b'"' + rb"\ud83d\ude00" * 100_000 + b'"'), None,
    ),
    "a text of commas": (_value(text="," * 9_000), None),
    "many properties": (_value(properties={f"p{n}": n for n in range(60_000)}), "commas, colons"),
    "numbers": (b'{"a": [' + b"1," * 500_000 + b"1]}", "commas, colons"),
    "objects": (b'{"a": [' + b"{}," * 300_000 + b"1]}", "commas, colons"),
    "deep": (b"[" * 1_000_000, "opening brackets"),
    "long": (_value(properties={"p": "x" * 8_000_000}), "bytes; at most 1310720"),
}  # fmt: skip


@pytest.mark.parametrize(("value", "told"), WORK.values(), ids=WORK)
def test_what_takes_long_to_parse_is_not_parsed(value: bytes, told: str | None) -> None:
    if told is None:
        check_work(value)
        decode_interaction(value)
    else:
        with pytest.raises(BadMessage, match=told) as error:
            check_work(value)
        assert error.value.error_class == "TooLong"


def test_a_tombstone_is_no_work() -> None:
    check_work(None)


def test_long_numbers_are_refused_in_large_messages_alone() -> None:
    for digits, many in ((EVENT_DIGITS - 1, 1_000), (EVENT_DIGITS + 10, 100)):
        check_work(b"[" + b",".join([b"1" * digits] * many) + b"]")
    with pytest.raises(BadMessage, match="500 digits in a row, in more than 100000 bytes"):
        check_work(b"[" + b",".join([b"1" * EVENT_DIGITS] * 1_000) + b"]")
