"""The real table of token embeddings: what an embedding depends on, and the check of the files."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from engine.text import tokens as module
from engine.text.packages import installed
from engine.text.tokens import TokenEncoder, token_table


@pytest.fixture(scope="module")
def tokens() -> TokenEncoder:
    return TokenEncoder()


@pytest.mark.parametrize(
    "text", ["a", "The packaging was lovely", "Amélie, 千と千尋の神隠し 🎬", "word " * 5000]
)
def test_embeddings_are_of_unit_length(tokens: TokenEncoder, text: str) -> None:
    out = tokens.encode(text)
    assert out.shape == (TokenEncoder.dimensions,)
    assert out.dtype == np.float32
    assert np.linalg.norm(out) == pytest.approx(1.0, abs=1e-5)


def test_a_text_without_tokens_is_embedded_by_zeros(tokens: TokenEncoder) -> None:
    np.testing.assert_array_equal(tokens.encode(""), np.zeros(TokenEncoder.dimensions, np.float32))


def test_texts_about_the_same_are_nearer(tokens: TokenEncoder) -> None:
    wars, jedi, wind = map(
        tokens.encode, ("Star Wars", "The Empire Strikes Back, a star war", "Gone with the Wind")
    )
    assert wars @ jedi > wars @ wind + 0.2


def test_an_embedding_is_the_mean_of_its_tokens(tokens: TokenEncoder) -> None:
    ids = tokens._tokenizer.encode("good gift", add_special_tokens=False).ids
    mean = (tokens._table[ids] * tokens._scales[ids, None]).mean(0)
    expected = mean / np.linalg.norm(mean)
    np.testing.assert_allclose(tokens.encode("good gift"), expected, atol=1e-6)


def test_eight_bits_are_near_the_table(tokens: TokenEncoder) -> None:
    table = token_table()
    assert table.shape == tokens._table.shape == (32_000, TokenEncoder.dimensions)
    held = tokens._table[:2000] * tokens._scales[:2000, None]
    off = np.linalg.norm(held - table[:2000], axis=1)
    assert (off <= 0.02 * np.linalg.norm(table[:2000], axis=1) + 1e-6).all()


def test_only_the_head_of_a_long_text_is_read(tokens: TokenEncoder) -> None:
    head = "galaxy " * 200
    np.testing.assert_array_equal(tokens.encode(head + "ghost"), tokens.encode(head + "pasta"))
    assert not np.array_equal(tokens.encode("ghost " + head), tokens.encode(head))


@pytest.mark.parametrize("file", [module._TABLE, module._TOKENIZER])
def test_a_file_that_differs_in_one_byte_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    tampered = tmp_path / "file"
    shutil.copy(installed("wordllama", file), tampered)
    with tampered.open("r+b") as opened:
        opened.seek(500_000)
        byte = opened.read(1)[0]
        opened.seek(500_000)
        opened.write(bytes([byte ^ 1]))
    monkeypatch.setattr(
        module,
        "installed",
        lambda package, name: tampered if name == file else installed(package, name),
    )
    with pytest.raises(RuntimeError, match=r"sha256 .* reinstall wordllama"):
        TokenEncoder()
