"""The live page in Chromium, on a worker that answers, and with a token."""

from __future__ import annotations

import asyncio
import re
import threading
import time
import uuid
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Response, expect
from prometheus_client import CollectorRegistry

from engine.events import Item
from engine.recommender import Recommender
from engine.settings import EngineSettings
from streams.brokers import EmbeddedBroker
from streams.kafka import topics
from streams.kafka.group import Member
from streams.kafka.record import Record
from streams.messages.schemas import Model, encode
from streams.settings import Settings
from streams.web.api import Api
from streams.web.engine_access import EngineAccess
from streams.web.feed import Feed
from streams.web.forwarding import Forwarding
from streams.web.message_writer import MessageWriter
from streams.web.page import Page as LivePage
from streams.web.server import serve
from streams.web.workers import Workers
from streams.worker.health import Health
from streams.worker.partition import Partition
from streams.worker.pipeline import Pipeline
from streams.worker.transactional import TransactionalWriter
from tests.chromium import chromium_fixture  # noqa: F401
from tests.conftest import ROOT, TOPICS
from tests.ports import free_port
from tests.streams.conftest import FIRST_MS, Path, interaction
from tests.streams.served import nobody_is_forgotten
from tests.streams.waiting import until

EVIL = "<img src=x onerror=alert(1)>"
ITEMS = [Item(item=f"m{n}", title=f"Film {n}", categories=["Drama"]) for n in range(30)]
ITEMS[0] = Item(item="m0", title=EVIL, categories=["Drama"])
LEAST_BYTES, MOST_BYTES = 60_000, 300_000
SCREENSHOTS = ROOT / ".cache" / "screenshots"
_NUMBER = re.compile(r"^0\.\d{4}$")
_NEW_LIST = re.compile(r"^New list \d+ ms after you chose")
_IS_DRAWN = """(id) => {
    const canvas = document.querySelector(`#${id} canvas`);
    const [width, height] = [canvas.width - 54, canvas.height - 30];
    const { data } = canvas.getContext("2d").getImageData(54, 0, width, height);
    return new Set(new Uint32Array(data.buffer)).size > 3;
}"""
"""Whether a line is drawn right of the axis, whose labels take 54 pixels, and above the times."""


class Visit:
    """A page in a context of its own, and what went wrong in it."""

    def __init__(self, browser: Browser, **options: object) -> None:
        self.context: BrowserContext = browser.new_context(**options)  # type: ignore[arg-type]
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.wrong: list[str] = []
        self.statuses: dict[str, Response] = {}
        self.page.on("console", lambda line: line.type == "error" and self.wrong.append(line.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: self.wrong.append(f"dialog: {dialog.message}"))
        self.page.on("response", lambda answer: self.statuses.update({answer.url: answer}))
        self.bytes = 0
        session = self.context.new_cdp_session(self.page)
        session.on("Network.dataReceived", self._count)
        session.send("Network.enable")

    def _count(self, part: dict[str, int]) -> None:
        self.bytes += part["dataLength"]  # of bodies, decompressed; of the stream, so far


@pytest.fixture
def visit(chromium: Browser) -> Iterator[type[Visit]]:
    """Opens pages, and closes them after the test."""
    visits: list[Visit] = []

    def opened(**options: object) -> Visit:
        visits.append(Visit(chromium, **options))
        return visits[-1]

    yield opened  # type: ignore[misc]
    for each in visits:
        each.context.close()


@pytest.fixture(scope="module")
def path(embedded: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A worker that serves the page, with items, events of three users, and a dead letter."""
    mark = uuid.uuid4().hex[:8]
    settings = Settings(
        broker={"bootstrap": embedded.bootstrap, "embedded": True},
        topics={name: f"{name.replace('_', '-')}.{mark}" for name in TOPICS} | {"partitions": 1},
        worker={"group": f"group.{mark}"},
        web={"port": free_port()},
        engine={"model": "gnn", "excludes": ["all"]},
    )
    for name in topics.policies(settings):
        embedded.create_topic(name, 1)
    path = Path(settings)
    path.send_items(*ITEMS)
    path.read(path.names.items, len(ITEMS))
    with path.worker():
        path.read(path.names.item_embeddings, len(ITEMS))
        events = [
            interaction(n, user=("ann", "bob", "cleo")[n % 3], item=f"m{n * 7 % 30}", value=4.0)
            for n in range(24)
        ]
        path.send(*events)
        path.send_bytes(
            b'{"event_id": "x", "user": "ann", "item": "m1", "timestamp": 1600000000000}', "ann"
        )
        path.flush()
        path.answers(len(events))
        path.read(path.names.dead_letters, 1)
        yield path


def address(path: Path, query: str = "") -> str:
    return f"http://127.0.0.1:{path.settings.web.port}/{query}"


def titles(page: Page) -> list[str]:
    expect(page.locator("#list li:visible")).to_have_count(10)
    return page.locator("#list .title").all_text_contents()


def until_drawn(page: Page, chart: str) -> None:
    for _ in range(100):
        if page.evaluate(_IS_DRAWN, chart):
            return
        page.wait_for_timeout(100)  # answers the browser meanwhile
    raise AssertionError(f"the chart {chart} stays empty")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [pytest.param(1280, marks=pytest.mark.long), 360])
def test_all_is_shown(path: Path, visit: type[Visit], scheme: str, width: int) -> None:
    it = visit(color_scheme=scheme, viewport={"width": width, "height": 900})
    page = it.page
    page.goto(address(path, "?user=cleo"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Recommended for user cleo")
    shown = titles(page)
    assert set(shown) <= {item.title for item in ITEMS}
    assert len(set(shown)) == 10
    for part in ("reason", "score"):
        assert all(page.locator(f"#list .{part}").all_text_contents())
    # What cleo took is not recommended.
    taken = page.locator("#taken .title").all_text_contents()
    assert len(taken) == 8
    assert not set(taken) & set(shown)

    expect(page.locator("#dead .class")).to_have_text("MissingField")
    expect(page.locator("#dead .message")).to_contain_text("kind")
    expect(page.locator("#dead .when")).to_contain_text(
        f"{path.names.interactions} · partition 0 · offset 24"
    )
    expect(page.locator("#lag-table tbody th")).to_have_text("0")
    expect(page.locator("#lag-table tbody td")).to_have_text("0")
    expect(page.locator("#counts")).to_contain_text("24 answers · 0 duplicates")
    expect(page.locator("#quality .entry b").first).to_have_text(_NUMBER)
    expect(page.locator("#stages .entry")).to_have_count(7)
    for chart in ("events", "latency", "stages", "quality"):
        # A line needs two seconds' values: the next second may still have to come.
        until_drawn(page, chart)

    assert page.evaluate("document.documentElement.scrollWidth") <= width
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    dark = sum(int(part) for part in background[4:-1].split(",")) < 3 * 128
    assert dark == (scheme == "dark")
    assert LEAST_BYTES < it.bytes <= MOST_BYTES
    assert it.wrong == []
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    file = SCREENSHOTS / f"page-{scheme}-{width}.png"
    page.screenshot(path=file, full_page=True)
    print(f"screenshot: {file.relative_to(ROOT)}")


def test_a_title_is_text_and_nothing_else(path: Path, visit: type[Visit]) -> None:
    it = visit()
    it.page.goto(address(path, "?user=nobody-yet"))
    titles(it.page)
    it.page.goto(address(path, "?user=ann"))  # who took it
    expect(it.page.locator("#taken .title", has_text="onerror")).to_have_text(EVIL)
    assert it.page.locator("main img").count() == 0
    assert it.wrong == []
    headers = it.statuses[address(path, "?user=ann")].headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "unsafe" not in headers["content-security-policy"]
    assert "default-src 'none'" in headers["content-security-policy"]
    assert it.context.cookies() == []


def test_why_an_item_is_in_the_list_is_shown_below_it(path: Path, visit: type[Visit]) -> None:
    # Somebody else takes what bob took last, and then what nobody has taken.
    path.send(*(interaction(200 + n, user="dora", item=f"m{m}") for n, m in enumerate((4, 18))))
    it = visit(viewport={"width": 360, "height": 900})
    page = it.page
    button = page.get_by_role("button", name="Why Film 18?", exact=True)

    def listed() -> bool:
        page.goto(address(path, "?user=bob"))
        titles(page)
        return button.count() == 1

    until(listed, what="Film 18 in bob's list")
    taken = page.locator("#taken .title").all_text_contents()
    assert button.get_attribute("aria-expanded") == "false"
    button.click()
    panel = page.locator(f"#{button.get_attribute('aria-controls')}")
    expect(panel).to_be_visible()
    assert button.get_attribute("aria-expanded") == "true"
    goes_with = panel.locator("li b").all_text_contents()
    assert "Film 4" in goes_with
    assert set(goes_with) <= set(taken)
    values = [float(text) for text in panel.locator("td:nth-child(3)").all_text_contents()]
    assert abs(sum(values[:-1]) - values[-1]) < 0.005 * len(values)
    assert panel.locator(".bar").first.evaluate("bar => bar.offsetWidth") > 50
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / "page-why.png")
    # Another item in its place has another reason: nothing stale stays open.
    page.get_by_role("button", name="Film 18 ", exact=False).first.click()
    expect(page.locator("#list-note")).to_have_text(_NEW_LIST)
    expect(panel).to_be_hidden()
    assert it.wrong == []


def test_by_keyboard_a_user_is_chosen_and_an_item_taken(path: Path, visit: type[Visit]) -> None:
    it = visit()
    page, keys = it.page, it.page.keyboard
    page.goto(address(path, "?user=ann"))
    titles(page)

    def focused() -> str:
        return str(page.evaluate("document.activeElement.id || document.activeElement.className"))

    def tab_to(wanted: str) -> None:
        for _ in range(20):
            keys.press("Tab")
            if focused() == wanted:
                outline = page.evaluate(
                    "getComputedStyle(document.activeElement.type === 'radio'"
                    " ? document.activeElement.nextSibling : document.activeElement).outlineStyle"
                )
                assert outline == "solid", f"the focus on {wanted} cannot be seen"
                return
        raise AssertionError(f"Tab does not get to {wanted}")

    tab_to("user")
    keys.press("Control+A")
    keys.type("bob")
    keys.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Recommended for user bob")
    before = titles(page)
    tab_to("kind-click")
    keys.press("ArrowRight")
    keys.press("ArrowRight")
    tab_to("value")
    keys.press("ArrowDown")
    tab_to("item")
    keys.press("Enter")
    note = page.locator("#list-note")
    expect(note).to_have_text(_NEW_LIST)
    assert note.get_attribute("aria-live") == "polite"
    after = titles(page)
    assert before[0] not in after
    assert before[0] in note.inner_text()
    expect(page.locator("#taken li").first).to_contain_text(before[0])
    expect(page.locator("#taken li").first).to_contain_text("rated 4")
    # The focus is where it was, on what is there now.
    assert page.evaluate("document.activeElement.querySelector('.rank').textContent") == "1"
    assert it.wrong == []


def test_a_click_and_an_event_from_elsewhere_change_the_list(
    path: Path, visit: type[Visit]
) -> None:
    it = visit()
    page = it.page
    page.goto(address(path, "?user=cleo"))
    before = titles(page)
    page.locator("#list .item").nth(2).click()
    expect(page.locator("#list-note")).to_have_text(_NEW_LIST)
    assert before[2] not in titles(page)
    assert float(page.locator("#list-note").get_attribute("data-ms") or 0) > 0
    other = next(item for item in ITEMS if item.title == titles(page)[0])
    path.send(interaction(1000, user="cleo", item=other.item, kind="dislike"))
    expect(page.locator("#taken li").first).to_contain_text("dislike")
    assert other.title not in titles(page)
    assert it.wrong == []


def test_the_token_is_asked_for_once(visit: type[Visit]) -> None:
    port, token = free_port(), "öffne dich"
    settings = Settings(
        web={"port": port, "token": token},
        engine={"model": "gnn"},
        experiments={"one": {"arms": {"plain": {}, "varied": {"diversity": 0.3}}}},
    )
    engine = Recommender(EngineSettings(model="gnn"))
    for item in ITEMS:
        engine.upsert_item(item)
    health, model, access = Health(waiting_for=""), Model("millrace-gnn", "0"), EngineAccess()
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    access.open(loop)
    workers = Workers(lambda: [Member("10.0.0.7:6066", [1]), Member("127.0.0.1:1", [0])])
    workers.address = "127.0.0.1:1"
    forwarding = Forwarding({}, workers, health)
    writer = MessageWriter(settings, lambda: 1)
    api = Api(
        engine, model, access, health, writer, settings, workers, forwarding, nobody_is_forgotten
    )
    pipeline = Pipeline(engine, settings, model)
    partition = Partition(number=0, window=1000, writer=TransactionalWriter(settings, 0, "", 0))
    partition.writer.queue.written = 0
    feed = Feed(pipeline, health, model)
    server = serve(
        settings,
        CollectorRegistry(),
        health,
        api.routes(),
        [LivePage(feed, engine, access, forwarding)],
    )
    assert server is not None
    it = visit()
    try:
        page = it.page
        page.goto(f"http://127.0.0.1:{port}/?user=ann")
        for given, shown in (("open", "That is not its token."), (token, "")):
            expect(page.get_by_role("dialog")).to_be_visible()
            page.get_by_label("Token", exact=True).fill(given)
            page.get_by_role("button", name="Open").click()
            if shown:
                expect(page.get_by_role("alert")).to_have_text(shown)
        expect(page.locator("#list-note")).to_have_text("Not known yet: this is what is trending.")
        titles(page)
        page.reload()
        before = titles(page)
        expect(page.get_by_role("dialog")).to_be_hidden()
        # Her event was answered before this worker took its partition over.
        taken = next(item for item in ITEMS if item.title == before[0])
        event = encode(interaction(1, user="ann", item=taken.item))
        record = Record(0, 0, FIRST_MS, b"ann", event, ())
        loop.call_soon_threadsafe(pipeline.handle, partition, [record])
        expect(page.locator("#taken li").first).to_contain_text(taken.title)
        assert taken.title not in titles(page)
        rows = page.locator("#worker-table tbody tr")
        expect(rows).to_have_text(["10.0.0.7:60661", "127.0.0.1:1 (shown)0"])
        arms = page.locator("#experiment-table tbody th")
        expect(arms).to_have_text(["one: plain", "one: varied"])
        page.goto(f"http://127.0.0.1:{port}/docs")
        expect(page.locator("#operations details")).to_have_count(len(api.operations))
        page.get_by_text("Write an interaction, or many, to Kafka").click()
        expect(page.get_by_text("all_or_nothing")).to_be_visible()
        page.goto(f"http://127.0.0.1:{port}/?user=ann")
        for path, status in (
            ("static/nothing.js", 404),
            ("static/uPlot.LICENSE", 404),
            ("static/..%2Ffeed.py", 404),
            ("live", 401),
            ("users/ann", 401),
        ):
            assert page.request.get(f"http://127.0.0.1:{port}/{path}").status == status, path
        bearer = {"Authorization": f"Bearer {token}".encode().decode("latin-1")}
        refused = page.request.get(f"http://127.0.0.1:{port}/live?since=now", headers=bearer)
        assert refused.status == 400
        assert refused.json()["error"]["message"].startswith("since: ")
        assert it.context.cookies() == []
        assert all("401" in line for line in it.wrong), it.wrong
        closing = time.monotonic()
        server.close()  # which an open page does not hold up
        assert time.monotonic() - closing < 30
        expect(page.locator("#state")).to_have_text("the worker does not answer")
    finally:
        server.close()
        loop.call_soon_threadsafe(loop.stop)
