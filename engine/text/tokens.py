"""What users write, read in microseconds: the token embeddings of a large language model, pooled.

A text's embedding is the mean of its tokens' rows in a table of 32,000 x 256, taken from models of
the Llama family and trained for being averaged [1]_. No network runs: a review of a hundred words
takes some 200 us, nearly all of it the tokenizer's. The table is the installed package
`wordllama`'s (MIT), checked by its SHA-256, and held in 8 bits.

References
----------
.. [1] Miller, WordLlama: recycled token embeddings from large language models, 2024.
"""

from __future__ import annotations

import struct

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.text.packages import check, installed

_TABLE = "weights/l2_supercat_256.safetensors"
_TABLE_SHA256 = "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5"
_TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
_TOKENIZER_SHA256 = "bf467c9e0f536bda271283c6ef85eb1a943e3196b621c8a912d64953b205df83"
"""Of the file without white space at its end, by which the package's versions differ."""
_TOKENS = 128
_CHARACTERS = 8
"""Characters of a text that are tokenised for each token that is read."""


class TokenEncoder:
    """Encodes texts to unit vectors by their tokens.

    Attributes
    ----------
    dimensions
        Width of an embedding.
    """

    dimensions = 256

    def __init__(self) -> None:
        """Load the table and its tokenizer (about a third of a second).

        Raises
        ------
        RuntimeError
            If the installed files are not the ones that Millrace was measured with.
        """
        from tokenizers import Tokenizer  # noqa: PLC0415 - only who reads reviews needs it

        self._tokenizer = Tokenizer.from_str(tokenizer_json())
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        rows = token_table()
        largest = np.abs(rows).max(1)
        self._scales: NDArray[np.float32] = np.where(largest > 0, largest, 1.0) / np.float32(127)
        self._table: NDArray[np.int8] = np.rint(rows / self._scales[:, None]).astype(np.int8)

    def encode(self, text: str) -> NDArray[np.float32]:
        """float32[256], of unit length: the mean of up to 128 tokens; zeros for a text of none."""
        read = text[: _TOKENS * _CHARACTERS]
        ids = self._tokenizer.encode(read, add_special_tokens=False).ids[:_TOKENS]
        pooled: NDArray[np.float32] = self._scales[ids] @ self._table[ids].astype(np.float32)
        norm = np.linalg.norm(pooled)
        return pooled / norm if norm > 0 else pooled


def token_table() -> NDArray[np.float32]:
    """The package's token embeddings: float32[32000, 256]. Raises as `TokenEncoder`."""
    return _only_tensor(_checked(_TABLE, _TABLE_SHA256)).astype(np.float32)


def tokenizer_json() -> str:
    """The tokenizer that numbers its rows, as `tokenizers` reads it. Raises as `TokenEncoder`."""
    return _checked(_TOKENIZER, _TOKENIZER_SHA256).decode()


def _checked(file: str, sha256: str) -> bytes:
    """The bytes of a file of the package, but for white space at its end."""
    data = installed("wordllama", file).read_bytes()
    if file == _TOKENIZER:
        data = data.rstrip()
    check(data, sha256, f"the bytes of wordllama's {file}", "wordllama as in requirements.txt")
    return data


def _only_tensor(file: bytes) -> NDArray[np.float16]:
    """The one tensor of a safetensors file, float16."""
    (length,) = struct.unpack("<Q", file[:8])
    header = msgspec.json.decode(file[8 : 8 + length])
    (tensor,) = (entry for name, entry in header.items() if name != "__metadata__")
    first, last = tensor["data_offsets"]
    data = file[8 + length + first : 8 + length + last]
    return np.frombuffer(data, "<f2").reshape(tensor["shape"])
