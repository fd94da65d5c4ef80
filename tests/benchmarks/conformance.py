"""Small servers that keep to what gorse's and Metarank's documents say, and to nothing else."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

Answer = tuple[int, Any]


class Conformance:
    """A server on a free port of 127.0.0.1.

    Attributes
    ----------
    base
        Its address.
    hang_up
        Whether it closes the connection after each answer without saying so, as servers do with
        connections that were idle for long.
    """

    def __init__(self) -> None:
        self.hang_up = False
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_any(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path = urlsplit(self.path)
                try:
                    body = json.loads(content) if content else None
                    names = {name: values[-1] for name, values in parse_qs(path.query).items()}
                    parts = [unquote(part) for part in path.path.strip("/").split("/")]
                    status, answer = owner.answer(self.command, parts, names, body)
                except (KeyError, TypeError, ValueError) as error:
                    status, answer = 400, {"error": repr(error)}
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)
                self.close_connection = owner.hang_up

            do_GET = do_POST = do_PUT = handle_any  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def answer(self, method: str, parts: list[str], query: dict[str, str], body: Any) -> Answer:
        """Status and body for a request."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class GorseConformance(Conformance):
    """https://gorse.io/docs/api/restful-api: recommends the latest items that were not read."""

    def __init__(self) -> None:
        super().__init__()
        self.items: dict[str, dict[str, Any]] = {}
        self.feedback: list[dict[str, Any]] = []

    def answer(self, method: str, parts: list[str], query: dict[str, str], body: Any) -> Answer:
        match method, parts:
            case "GET", ["api", "health", "ready"]:
                return 200, {"Ready": True}
            case "POST", ["api", "items"]:
                for item in body:
                    self.items[item["ItemId"]] = item
                return 200, {"RowAffected": len(body)}
            case "PUT", ["api", "feedback"]:
                for row in body:
                    keys = "FeedbackType", "UserId", "ItemId", "Timestamp"
                    self.feedback.append({key: row[key] for key in keys})
                    self.items.setdefault(row["ItemId"], {})
                return 200, {"RowAffected": len(body)}
            case "GET", ["api", "recommend", user]:
                read = {row["ItemId"] for row in self.feedback if row["UserId"] == user}
                left = [item for item in reversed(self.items) if item not in read]
                return 200, left[: int(query["n"])]
        return 404, {"error": "not found"}


class MetarankConformance(Conformance):
    """doc/api.md: what waits in sessions is learnt once flushed; `similar` answers once trained."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[dict[str, Any]] = []
        self.trainings = 0
        self._flushed = 0
        self._trained: list[str] = []

    def answer(self, method: str, parts: list[str], query: dict[str, str], body: Any) -> Answer:
        match method, parts:
            case "GET", ["health"]:
                return 200, {}
            case "POST", ["feedback"]:
                for event in body if isinstance(body, list) else [body]:
                    event["id"], int(event["timestamp"]), event["item"]
                    if event["event"] == "interaction":
                        event["type"], event["user"]
                    self.events.append(event)
                took = {"accepted": len(body), "status": "ok", "tookMillis": 1, "updated": 0}
                return 200, took
            case "POST", ["flush"]:
                self._flushed = len(self.events)
                return 200, {"accepted": 0, "status": "ok", "tookMillis": 1, "updated": 0}
            case "POST", ["train", "similar"]:
                self.trainings += 1
                known = self.events[: self._flushed]
                self._trained = [e["item"] for e in known if e["event"] == "interaction"]
                return 200, {"features": [], "iterations": [], "sizeBytes": 1}
            case "POST", ["recommend", "similar"]:
                best = dict.fromkeys(item for item in self._trained if item not in body["items"])
                items = [{"item": item, "score": 1.0} for item in best][: body["count"]]
                return 200, {"took": 1, "items": items}
        return 404, {"error": "not found"}
