"""`millrace watch`: the answers as they come, for people or as JSON lines."""

from __future__ import annotations

import json
import sys
from typing import Any

import msgspec
from confluent_kafka import Message
from rich.console import Console

from streams.kafka.tail import TopicTail
from streams.messages.schemas import Recommendation
from streams.settings import Settings
from streams.tools.printable import printable
from streams.tools.subscriber import Buried, Received, follow
from streams.worker.catalogue import decode_embedding


def show(
    settings: Settings,
    from_beginning: bool,
    dead_letters: bool,
    json_lines: bool,
    console: Console,
) -> None:
    """Print every answer until stopped."""
    write = _json_line if json_lines else _Pretty(settings, console)
    for message in follow(settings, from_beginning):
        if message is None:
            sys.stdout.flush()
        elif dead_letters or isinstance(message, Received):
            write(message)


def _json_line(message: Received | Buried) -> None:
    """An answer as on the topic, with `received_ns` and `end_to_end_ms`; or a `dead_letter`."""
    line: dict[str, Any]
    if isinstance(message, Received):
        line = msgspec.to_builtins(message.recommendation)
        line["received_ns"] = message.received_ns
        line["end_to_end_ms"] = message.end_to_end_ms
    else:
        line = {"dead_letter": message.headers, "bytes": message.size}
    # ASCII: ids may hold what steers a terminal.
    sys.stdout.write(json.dumps(line) + "\n")


class _Pretty:
    """Two lines an answer, with titles from the catalogue."""

    def __init__(self, settings: Settings, console: Console) -> None:
        self._console = console
        self._titles: dict[str, str] = {}
        self._catalogue = TopicTail(settings, settings.topics.item_embeddings, self._read)
        self._catalogue.read_to_end()
        self._catalogue.follow(lambda apply: apply())

    def __call__(self, message: Received | Buried) -> None:
        if isinstance(message, Buried):
            reason = message.headers.get("error.message", "")
            topic, partition, offset = (
                message.headers.get(f"origin.{name}", "?")
                for name in ("topic", "partition", "offset")
            )
            origin = f"{topic}[{partition}] at {offset}"
            self._print(f"dead letter from {origin}: {reason}", style="red")
            return
        answer = message.recommendation
        self._print(f"{answer.user} took {self._title(answer.item)}  {_took(answer)}", "bold")
        self._print("   " + " · ".join(self._title(entry.item) for entry in answer.items))

    def _print(self, text: str, style: str = "") -> None:
        self._console.print(printable(text), style=style, markup=False, highlight=False)

    def _title(self, item: str | None) -> str:
        return self._titles.get(item or "", item or "nothing")

    def _read(self, message: Message) -> None:
        found = decode_embedding(message)
        if found is not None and found[0].title:
            self._titles[found[0].item] = found[0].title


def _took(answer: Recommendation) -> str:
    return f"({answer.latency_us.total / 1000:.2f} ms)"
