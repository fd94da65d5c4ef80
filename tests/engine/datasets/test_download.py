"""Downloads, against a real HTTP server on this machine."""

from __future__ import annotations

import functools
import hashlib
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from engine.datasets import DatasetError, download, open_dataset
from engine.datasets.download import MOVIELENS_MD5
from tests.ports import free_port

DATA = Path(__file__).parents[2] / "data" / "datasets"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        self.server.requests.append(self.path)  # type: ignore[attr-defined]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str, list[str]]]:
    """A folder, the address at which it is served, and the paths asked for."""
    folder = tmp_path / "site"
    folder.mkdir()
    handler = functools.partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.requests = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}/", server.requests  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()


def pack(site: Path, name: str, source: str, inside: str | None = None) -> str:
    """Put the fixture ``source`` there as ``name.zip``; give its MD5."""
    archive = site / f"{name}.zip"
    with zipfile.ZipFile(archive, "w") as target:
        for file in (DATA / source).iterdir():
            target.write(file, f"{inside or name}/{file.name}")
    return hashlib.md5(archive.read_bytes()).hexdigest()


@pytest.mark.parametrize("style", ["MD5 (ml-latest-small.zip) = {}\n", "{}  ml-latest-small.zip\n"])
def test_fetch_check_and_unpack(
    style: str, site: tuple[Path, str, list[str]], tmp_path: Path
) -> None:
    folder, url, requests = site
    md5 = pack(folder, "ml-latest-small", "movielens-csv")
    (folder / "ml-latest-small.zip.md5").write_text(style.format(md5))
    target = tmp_path / "data"
    path = download("ml-latest-small", target, base_url=url)
    assert path == target / "ml-latest-small"
    assert len(list(open_dataset(path).interactions())) == 3
    assert {p.name for p in target.iterdir()} == {"ml-latest-small", "ml-latest-small.zip"}
    before = len(requests)
    assert download("ml-latest-small", target, base_url=url) == path
    assert len(requests) == before, "what is there was fetched again"


def test_a_known_md5_is_checked(
    site: tuple[Path, str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, url, _ = site
    md5 = pack(folder, "ml-100k", "movielens-100k")
    target = tmp_path / "data"
    with pytest.raises(DatasetError, match=r"could not fetch ml-100k from .*hash") as caught:
        download("ml-100k", target, progress=False, base_url=url)
    assert "\n" not in str(caught.value)
    assert list(target.iterdir()) == []
    monkeypatch.setitem(MOVIELENS_MD5, "ml-100k", md5)
    path = download("ml-100k", target, progress=False, base_url=url)
    assert open_dataset(path).format.startswith("text between tabs")


def test_an_archive_that_would_fill_the_disk_is_refused(
    site: tuple[Path, str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, url, _ = site
    monkeypatch.setitem(MOVIELENS_MD5, "ml-100k", pack(folder, "ml-100k", "movielens-100k"))
    monkeypatch.setattr(sys.modules[download.__module__], "MOST_UNPACKED", 100)
    with pytest.raises(DatasetError, match=r"would unpack to [\d,]+ bytes, 100 are taken"):
        download("ml-100k", tmp_path / "data", progress=False, base_url=url)
    assert not any(path.is_dir() for path in (tmp_path / "data").iterdir())


def test_no_server(tmp_path: Path) -> None:
    target = tmp_path / "data"
    with pytest.raises(DatasetError, match="check the connection and try again, or unpack") as e:
        download("ml-1m", target, progress=False, base_url=f"http://127.0.0.1:{free_port()}/")
    assert "\n" not in str(e.value)
    assert not target.exists() or list(target.iterdir()) == []


def test_not_on_the_server(site: tuple[Path, str, list[str]], tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"could not fetch ml-32m .*404"):
        download("ml-32m", tmp_path / "data", progress=False, base_url=site[1])


def test_an_answer_that_is_no_md5(site: tuple[Path, str, list[str]], tmp_path: Path) -> None:
    folder, url, _ = site
    (folder / "ml-latest-small.zip.md5").write_text("<html>moved</html>")
    with pytest.raises(DatasetError, match="holds no MD5 but '<html>moved"):
        download("ml-latest-small", tmp_path / "data", progress=False, base_url=url)


@pytest.mark.parametrize("content", ["not a zip", "other folder"])
def test_an_archive_that_is_not_what_it_should_be(
    content: str, site: tuple[Path, str, list[str]], tmp_path: Path
) -> None:
    folder, url, _ = site
    archive = folder / "ml-latest-small.zip"
    if content == "not a zip":
        archive.write_bytes(b"nothing")
    else:
        pack(folder, "ml-latest-small", "movielens-csv", inside="elsewhere")
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    (folder / "ml-latest-small.zip.md5").write_text(md5)
    target = tmp_path / "data"
    with pytest.raises(DatasetError, match="could not fetch ml-latest-small"):
        download("ml-latest-small", target, progress=False, base_url=url)
    assert [p.name for p in target.iterdir()] == ["ml-latest-small.zip"]


def test_a_folder_that_is_there_but_not_whole(tmp_path: Path) -> None:
    (tmp_path / "ml-1m").mkdir()
    (tmp_path / "ml-1m" / "movies.dat").write_text("1::A (1990)::Drama\n")
    with pytest.raises(DatasetError, match=r"not ratings\.dat.*or remove .* fetched anew"):
        download("ml-1m", tmp_path)


@pytest.mark.parametrize(
    ("name", "site"), [("amazon", "amazon-reviews-2023"), ("yelp", "yelp.com")]
)
def test_what_must_be_fetched_by_hand(name: str, site: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        download(name, tmp_path)
    assert site in str(caught.value)
    assert f"put them into {tmp_path / name}" in str(caught.value)
    assert f"millrace demo --data {tmp_path / name}" in str(caught.value)


def test_an_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match="no data set is called 'netflix': choose one of ml-100k"
    ):
        download("netflix", tmp_path)
