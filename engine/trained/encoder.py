"""The text encoder of a model folder: ONNX on one thread, or DeepSpeed's inference engine."""

from __future__ import annotations

import logging
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.trained.folder import ENCODER, TOKENIZER, Folder, TrainedModelError

_log = logging.getLogger("millrace.trained")


class Encoder(Protocol):
    """Embeds a text."""

    def encode(self, text: str) -> NDArray[np.float32]:
        """float32[e], of unit length."""
        ...


class OnnxEncoder:
    """A folder's `encoder.onnx`: token ids and mask in, the pooled embedding out."""

    def __init__(self, folder: Folder) -> None:
        import onnxruntime  # noqa: PLC0415 - a third of a second that only an encoder needs
        from tokenizers import Tokenizer  # noqa: PLC0415

        for name in (ENCODER, TOKENIZER):
            if not (folder.path / name).is_file():
                raise TrainedModelError(f"{folder.path}: {name} is missing")
        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(folder.path / ENCODER), options, providers=["CPUExecutionProvider"]
        )
        self._inputs = [node.name for node in self._session.get_inputs()]
        self._tokenizer = Tokenizer.from_file(str(folder.path / TOKENIZER))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(folder.recipe.text.tokens if folder.recipe.text else 128)
        self._last = folder.recipe.text is not None and folder.recipe.text.pooling == "last"

    def encode(self, text: str) -> NDArray[np.float32]:
        """See `Encoder.encode`."""
        encoding = self._tokenizer.encode(text)
        feeds = {
            "input_ids": np.array([encoding.ids], np.int64),
            "attention_mask": np.array([encoding.attention_mask], np.int64),
            "token_type_ids": np.array([encoding.type_ids], np.int64),
        }
        tokens = self._session.run(None, {name: feeds[name] for name in self._inputs})[0][0]
        pooled = tokens[-1] if self._last else tokens.mean(0)
        unit: NDArray[np.float32] = pooled / max(float(np.linalg.norm(pooled)), 1e-9)
        return unit


def make_encoder(folder: Folder) -> Encoder:
    """The encoder that a folder's recipe wants.

    `init_inference` needs the extra `train`; without it the folder's ONNX serves, and a line in
    the log says so.
    """
    if folder.recipe.serving.init_inference:
        try:
            from engine.training.inference import DeepSpeedEncoder  # noqa: PLC0415
        except ModuleNotFoundError as error:
            _log.warning(
                "%s: init_inference needs the package %s (pip install 'millrace[train]'); "
                "its ONNX encoder serves instead", folder.path, error.name,
            )  # fmt: skip
        else:
            return DeepSpeedEncoder(folder)
    return OnnxEncoder(folder)
