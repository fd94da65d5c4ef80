"""How long one message may hold the event path: those that cost most to decode, or to refuse.

    python -m benchmarks.worst_messages [--json FILE]

Each is as large as is parsed at all (`streams.messages.limits`). `milliseconds` is the median of
`RUNS` of what a worker does with it before the engine: its size is checked, it is decoded, and if
it is refused, the reason is found and the dead letter is made. `longest_ms` is the largest of these
medians.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from engine.evaluation.provenance import provenance
from streams.kafka.record import Record
from streams.messages.bad_message import BadMessage
from streams.messages.dead_letters import dead_letter
from streams.messages.decoding import decode_interaction
from streams.messages.dialect import Dialect
from streams.messages.limits import EVENT_BYTES, EVENT_DIGITS, EVENT_PARTS, check_size, check_work
from streams.settings import Settings

RUNS = 15
NOW_MS = 1_790_000_000_000
_PARTS = EVENT_PARTS - 50
_GOOD = (
    '{"event_id": "1", "user": "u", "item": "i", "kind": "click", "timestamp": 1772359200000, %s}'
)
_BAD = _GOOD.replace('"click"', "5")


def messages() -> dict[str, bytes]:
    """By what they are."""

    def numbers(number: str) -> str:
        many = min(_PARTS, (EVENT_BYTES - 1_000) // (len(number) + 1))
        return f'"properties": {{"a": [{",".join([number] * many)}]}}'

    digits = "1" * (EVENT_BYTES // _PARTS - 10)
    keys = ",".join(f'"{"k" * 200}{n}":1' for n in range(_PARTS // 2))
    text = f'"text": "{chr(92) + "u00e9"}' + f"{chr(92)}u00e9" * 99_000 + '"'
    return {
        "whole numbers": (_GOOD % numbers(digits)).encode(),
        "whole numbers, few and long": (_GOOD % numbers("1" * (EVENT_DIGITS - 1))).encode(),
        "whole numbers, fewer and longer": (_GOOD % numbers("1" * 4_000)).encode(),
        "decimals": (_GOOD % numbers("0." + digits[2:])).encode(),
        "whole numbers, and a wrong kind": (_BAD % numbers(digits)).encode(),
        "whole numbers, a numeric id, and a wrong kind": (
            _BAD.replace('"u"', "7") % numbers(digits)
        ).encode(),
        "keys, and a wrong kind": (_BAD % f'"properties": {{{keys}}}').encode(),
        "nesting": (_BAD % f'"properties": {{"a": {"[" * _PARTS}').encode(),
        "the longest text, all escaped": (_GOOD % text).encode(),
        "commas in a text": (_BAD % f'"text": "{"," * _PARTS}"').encode(),
        "beyond what is parsed": (_GOOD % numbers("1" * 200)).encode() * 6,
        "no JSON": b"{" + b"x" * (EVENT_BYTES - 10),
    }


def handle(value: bytes, dialect: Dialect, settings: Settings) -> str:
    """What a worker does with a message before the engine; what becomes of it."""
    record = Record(0, 0, NOW_MS, b"u", value, ())
    try:
        check_size(record.key, value, (), settings.topics.message_bytes)
        check_work(value)
        decode_interaction(value, (), NOW_MS, dialect)
    except BadMessage as error:
        dead_letter(error, settings.topics.interactions, record, settings.topics.message_bytes, "")
        return error.error_class
    return "an event"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    settings = Settings()
    dialect = Dialect.of(settings)
    rows: list[dict[str, Any]] = []
    for name, value in messages().items():
        took = []
        for _ in range(RUNS):
            began = time.perf_counter()
            outcome = handle(value, dialect, settings)
            took.append(1e3 * (time.perf_counter() - began))
        median = round(float(np.median(took)), 1)
        rows.append(
            {"message": name, "bytes": len(value), "outcome": outcome, "milliseconds": median}
        )
    report = {"longest_ms": max(row["milliseconds"] for row in rows), "rows": rows}
    text = json.dumps(report | provenance("messages that cost most", 0), indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
