"""The encoder as ONNX, which serving runs; in 8 bits, per channel, where a recipe wants it."""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engine.trained.folder import ENCODER, TOKENIZER
from engine.training.static import StaticTower

_OPSET = 17


def export_onnx(folder: Path) -> None:
    """Export `encoder/` of a model folder by optimum, and its tokenizer."""
    from optimum.onnxruntime import ORTModelForFeatureExtraction  # noqa: PLC0415 - slow to load

    with _quiet(), tempfile.TemporaryDirectory(dir=folder) as made:
        model = ORTModelForFeatureExtraction.from_pretrained(str(folder / "encoder"), export=True)
        model.save_pretrained(made)
        shutil.move(Path(made) / "model.onnx", folder / ENCODER)
    shutil.copy(folder / "encoder" / TOKENIZER, folder / TOKENIZER)


def quantise_onnx(start: Path, folder: Path) -> None:
    """Write the encoder of `start` in 8 bits: weights per channel, activations as they come."""
    from optimum.onnxruntime import ORTQuantizer  # noqa: PLC0415 - slow to load
    from optimum.onnxruntime.configuration import AutoQuantizationConfig  # noqa: PLC0415

    config = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=True)
    with _quiet(), tempfile.TemporaryDirectory(dir=folder) as made:
        source = Path(made) / "source"
        shutil.copytree(start / "encoder", source, ignore=shutil.ignore_patterns("*.safetensors"))
        shutil.copy(start / ENCODER, source / "model.onnx")
        quantizer = ORTQuantizer.from_pretrained(source, file_name="model.onnx")
        quantizer.quantize(save_dir=Path(made), quantization_config=config)
        shutil.move(Path(made) / "model_quantized.onnx", folder / ENCODER)


def export_static(tower: StaticTower, folder: Path) -> None:
    """A student's token table, as a model of one node; and its tokenizer."""
    table = tower.tokens.weight.detach().numpy().astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["tokens", "input_ids"], ["hidden"])],
        "static",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])],
        [
            helper.make_tensor_value_info(
                "hidden", TensorProto.FLOAT, ["batch", "tokens", table.shape[1]]
            )
        ],
        [numpy_helper.from_array(table, "tokens")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(folder / ENCODER))
    with tempfile.TemporaryDirectory(dir=folder) as made:
        tower.tokenizer.save_pretrained(made)
        shutil.move(Path(made) / TOKENIZER, folder / TOKENIZER)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What exporters and tracers tell at length is no news to who trains."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        previous = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(previous)
