"""The live page: its first view, and what it costs the worker to be looked at.

    python -m benchmarks.page ../shared/data/ml-100k --json FILE

- `first_view_ms`: from navigation to the list of ten being drawn, in Chromium, with nothing
  cached, of pages opened one after the other while `--rate` events a second come; `bytes` until
  then, not compressed.
- `total_us`: received to handed over, as the worker reports it of each event, in blocks that take
  short turns: the page `closed`, its `stream` read by something that draws nothing, and the page
  `open` in Chromium. Percentiles are of all blocks' events; those of single blocks tell how much
  the machine's other work sways them. `cpu_us` is the worker's CPU time an event. What `open`
  adds to `stream` is the browser's share of this machine's cores.
- `click_ms`: from the click on an item to the new list being drawn, as the page measures it.

    python -m benchmarks.page ../shared/data/ml-100k --rate 150 --picture docs/images/page.png

takes the picture of the README instead, after a minute of events.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import psutil
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.end_to_end import WARM_UP_EVENTS, Bench, Subscriber, console, publish_catalogue
from engine.datasets import open_dataset
from engine.evaluation.measures import percentiles
from engine.evaluation.provenance import provenance
from engine.events import Interaction
from streams.brokers import KafkaServer
from streams.messages.schemas import Recommendation
from streams.processes import Child
from streams.settings import WebSettings

FLAGS = [
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
VIEWS, CLICKS = 10, 15
_COMPARED = ("p50", "p99", "cpu_us")
_READ = "import sys, urllib.request as r\nfor _ in r.urlopen(sys.argv[1]): pass"
_SHOWN = """
const seen = new MutationObserver(() => {
    if (document.querySelectorAll("#list .item").length < 10) return;
    seen.disconnect();
    requestAnimationFrame(() => setTimeout(() => {
        document.documentElement.dataset.shown = performance.now();
    }));
});
seen.observe(document, { childList: true, subtree: true });
"""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data/ml-100k"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rate", type=float, default=1_000.0, help="events per second")
    parser.add_argument("--rounds", type=int, default=20, help="blocks of each contender")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a block")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path, help="only take a picture of the page")
    arguments = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        parser.error("chromium is not installed")
    dataset = open_dataset(arguments.data, seed=arguments.seed)
    with KafkaServer() as kafka, sync_playwright() as playwright:
        bench = Bench(kafka.bootstrap, "page", partitions=1)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        bench.settings = bench.settings.model_copy(update={"web": WebSettings(port=port)})
        with (
            playwright.chromium.launch(executable_path=chromium, args=FLAGS) as browser,
            bench.worker() as worker,
        ):
            run = Run(bench, worker, browser, arguments.rate, dataset.interactions())
            publish_catalogue(bench, dataset)
            run.warm_up()
            if arguments.picture:
                run.picture(arguments.picture)
                return
            # It reads only what was sent here, so no clicks.
            with Subscriber(bench, bench.settings.topics.recommendations) as run.answers:
                report = run.cost(arguments.rounds, arguments.seconds)
            report |= run.first_view() | run.click()
    report |= {"rate": arguments.rate} | provenance(dataset.name, arguments.seed)
    text = json.dumps(report, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


class Block(NamedTuple):
    """Microseconds of each event, CPU seconds of the worker, seconds until all was answered."""

    total_us: list[float]
    cpu: float
    took: float


def _pooled(blocks: list[Block]) -> dict[str, float]:
    total = [us for block in blocks for us in block.total_us]
    by_block = sorted(percentiles(block.total_us)["p99"] for block in blocks)
    return percentiles(total) | {
        "events": len(total),
        "events_per_s": round(len(total) / sum(block.took for block in blocks)),
        "cpu_us": round(sum(block.cpu for block in blocks) / len(total) * 1e6, 1),
        "p99_of_quietest_block": by_block[0],
        "p99_of_worst_block": by_block[-1],
    }


class Run:
    """A worker that answers a data set's events, and a browser beside it."""

    def __init__(
        self,
        bench: Bench,
        worker: Child,
        browser: Browser,
        rate: float,
        events: Iterator[Interaction],
    ) -> None:
        self.bench = bench
        self.answers: Subscriber
        self._worker = psutil.Process(worker.pid)
        self._browser = browser
        self._rate = rate
        self._events = events
        self._user = ""
        self._address = f"http://127.0.0.1:{bench.settings.web.port}"

    def warm_up(self) -> None:
        """The first events of the data set, at once."""
        for event in islice(self._events, WARM_UP_EVENTS):
            self._user = event.user
            self.bench.send(self.bench.settings.topics.interactions, event)
        self.bench.producer.flush()
        self.bench.await_answered(WARM_UP_EVENTS)

    def cost(self, rounds: int, seconds: float) -> dict[str, Any]:
        """Blocks of each contender in turns, the first round not counted."""
        contenders = {"closed": self._closed, "stream": self._stream, "open": self._open}
        blocks: dict[str, list[Block]] = {name: [] for name in contenders}
        for number in range(rounds + 1):
            # Whoever comes first in a round has it no easier.
            names = list(contenders) if number % 2 else list(contenders)[::-1]
            console.print(f"round {number} of {rounds}")
            for name in names:
                with contenders[name]():
                    block = self._block(seconds)
                if number:
                    blocks[name].append(block)
        found = {name: _pooled(own) for name, own in blocks.items()}
        ratios = {
            name: {key: round(found[name][key] / found["closed"][key], 3) for key in _COMPARED}
            for name in ("stream", "open")
        }
        return {"total_us": found, "ratio_to_closed": ratios}

    def first_view(self) -> dict[str, Any]:
        """New browser contexts, one after the other, while events come."""
        times, sizes = [], []
        for _ in range(VIEWS):
            self._send(0.5)
            with self._page() as page:
                page.add_init_script(_SHOWN)
                loaded = _count_bytes(page)
                page.goto(f"{self._address}/?user={self._user}")
                shown = page.locator("html[data-shown]")
                times.append(float(shown.get_attribute("data-shown") or 0))
                sizes.append(loaded[0])
        return {"first_view_ms": percentiles(times) | {"max": max(times)}, "bytes": max(sizes)}

    def click(self) -> dict[str, Any]:
        """Clicks on the first item of the list, with no other events."""
        times = []
        with self._page() as page:
            page.goto(f"{self._address}/?user={self._user}")
            note = page.locator("#list-note")
            for _ in range(CLICKS):
                page.locator("#list .item").first.click()
                page.locator("#list-note[data-ms]").wait_for()
                times.append(float(note.get_attribute("data-ms") or 0))
                note.evaluate("node => delete node.dataset.ms")
        return {"click_ms": percentiles(times)}

    def picture(self, file: Path) -> None:
        """The page after a while, of a user who has just chosen an item."""
        names = self.bench.settings.topics
        self._send(45.0)
        for rubbish in (b"{", b'{"event_id": "7", "user": "12", "item": "50", "kind": "rating"}'):
            self.bench.producer.produce(names.interactions, rubbish, "12", 0)
        with self._page() as page:
            self._send(45.0)
            page.goto(f"{self._address}/?user={self._user}")
            for place in (3, 1):
                page.locator("#list .item").nth(place).click()
                page.locator("#list-note[data-ms]").wait_for()
                self._send(2.0)
            page.locator("h1").hover()
            box = page.locator(".charts").bounding_box() or {}
            file.parent.mkdir(parents=True, exist_ok=True)
            shown = {"x": 0, "y": 0, "width": 1280, "height": box["y"] + box["height"] + 28}
            page.screenshot(path=file, full_page=True, clip=shown)
        # Few colours suffice, in a third of the bytes.
        few = Image.open(file).convert("RGB").quantize(255, Image.Quantize.MAXCOVERAGE)
        few.save(file, optimize=True)

    def _block(self, seconds: float) -> Block:
        first, spent, started = len(self.answers.samples), _cpu(self._worker), time.monotonic()
        self.answers.wait_for(first + self._send(seconds))
        took, cpu = time.monotonic() - started, _cpu(self._worker) - spent
        decoder = msgspec.json.Decoder(Recommendation)
        total = [decoder.decode(v).latency_us.total for _, v in self.answers.samples[first:]]
        return Block(total, cpu, took)

    def _send(self, seconds: float) -> int:
        count, start = int(self._rate * seconds), time.monotonic()
        for number, event in enumerate(islice(self._events, count)):
            while (left := start + number / self._rate - time.monotonic()) > 0:
                self.bench.producer.poll(0)
                time.sleep(min(left, 0.002))
            self.bench.send(self.bench.settings.topics.interactions, event)
        self.bench.producer.flush()
        return count

    @contextmanager
    def _closed(self) -> Iterator[None]:
        yield

    @contextmanager
    def _stream(self) -> Iterator[None]:
        path = f"{self._address}/live?user={self._user}"
        with Child([sys.executable, "-c", _READ, path]):
            time.sleep(1.0)
            yield

    @contextmanager
    def _open(self) -> Iterator[None]:
        with self._page() as page:
            page.goto(f"{self._address}/?user={self._user}")
            page.locator("#list .item").first.wait_for()
            time.sleep(1.0)
            yield

    @contextmanager
    def _page(self) -> Iterator[Page]:
        context = self._browser.new_context(viewport={"width": 1280, "height": 900})
        try:
            yield context.new_page()
        finally:
            context.close()


def _count_bytes(page: Page) -> list[int]:
    """Counts the bytes of bodies as they come, those of the stream too."""
    loaded = [0]
    session = page.context.new_cdp_session(page)

    def count(part: dict[str, int]) -> None:
        loaded[0] += part["dataLength"]

    session.on("Network.dataReceived", count)
    session.send("Network.enable")
    return loaded


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
