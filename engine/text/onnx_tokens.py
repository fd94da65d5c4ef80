"""A text encoder in ONNX and its tokenizer, on the calling thread."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_CHARACTERS = 16
"""Characters of a text that are tokenised for each token that is read. English has 4 to 5."""


class OnnxTokens:
    """Embeds the tokens of one text at a time.

    Parameters
    ----------
    weights
        The ONNX model, or the path of its file.
    tokenizer
        A tokenizer.json.
    most
        Tokens of a text that are read.
    """

    def __init__(self, weights: bytes | str, tokenizer: Path, most: int) -> None:
        import onnxruntime  # noqa: PLC0415 - a third of a second that only an encoder needs
        from tokenizers import Tokenizer  # noqa: PLC0415

        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            weights, options, providers=["CPUExecutionProvider"]
        )
        self._inputs = [node.name for node in self._session.get_inputs()]
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(most)
        self._most_characters = most * _CHARACTERS

    def embed(self, text: str) -> NDArray[np.float32]:
        """The embeddings of a text's tokens: float32[tokens, dimensions]."""
        # The tokenizer splits all of a text before it cuts it, some 3 us a character.
        encoding = self._tokenizer.encode(text[: self._most_characters])
        feeds = {
            "input_ids": np.array([encoding.ids], np.int64),
            "attention_mask": np.array([encoding.attention_mask], np.int64),
            "token_type_ids": np.array([encoding.type_ids], np.int64),
        }
        tokens: NDArray[np.float32] = self._session.run(
            None, {name: feeds[name] for name in self._inputs}
        )[0][0]
        return tokens
