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

from engine.trained.folder import ENCODER, TOKENIZER, quantise
from engine.training.report import TrainingError
from engine.training.static import StaticTower

_OPSET = 17


def export_onnx(folder: Path) -> None:
    """Export `encoder/` of a model folder by optimum, and its tokenizer.

    Raises
    ------
    TrainingError
        If the encoder is larger than the 2 GB that one ONNX file holds.
    """
    from optimum.onnxruntime import ORTModelForFeatureExtraction  # noqa: PLC0415 - slow to load

    with _quiet(), tempfile.TemporaryDirectory(dir=folder) as made:
        model = ORTModelForFeatureExtraction.from_pretrained(str(folder / "encoder"), export=True)
        model.save_pretrained(made)
        if (Path(made) / "model.onnx_data").exists():
            raise TrainingError("text.encoder: more than 2 GB of weights cannot be served")
        exported = onnx.load(str(Path(made) / "model.onnx"))
        _number_positions(exported.graph)
        onnx.save(exported, str(folder / ENCODER))
    shutil.copy(folder / "encoder" / TOKENIZER, folder / TOKENIZER)


def _number_positions(graph: onnx.GraphProto) -> None:
    """Let a decoder number its tokens by their mask: serving gives it ids and mask alone."""
    inputs = {node.name: node for node in graph.input}
    if "position_ids" not in inputs:
        return
    graph.input.remove(inputs["position_ids"])
    one, axis = np.array(1, np.int64), np.array(1, np.int64)
    graph.initializer.extend(
        [numpy_helper.from_array(one, "first_position"), numpy_helper.from_array(axis, "by_token")]
    )
    counted = helper.make_node("CumSum", ["attention_mask", "by_token"], ["tokens_so_far"])
    placed = helper.make_node("Sub", ["tokens_so_far", "first_position"], ["position_ids"])
    graph.node.insert(0, placed)
    graph.node.insert(0, counted)


def quantise_onnx(start: Path, folder: Path) -> None:
    """Write the encoder of `start` in 8 bits: weights per channel, activations as they come.

    The two folders may be one: its encoder is then replaced.
    """
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


def export_static(tower: StaticTower, folder: Path, int8: bool) -> None:
    """A table of token embeddings as a model that reads its rows; and its tokenizer.

    In 8 bits the table has a scale for each row.
    """
    table = tower.tokens.weight.detach().numpy().astype(np.float32)
    if int8:
        rows, scales = quantise(table)
        tables = {"tokens": rows, "scales": scales[:, None]}
        nodes = [
            helper.make_node("Gather", ["tokens", "input_ids"], ["rows"]),
            helper.make_node("Cast", ["rows"], ["wide"], to=TensorProto.FLOAT),
            helper.make_node("Gather", ["scales", "input_ids"], ["scale"]),
            helper.make_node("Mul", ["wide", "scale"], ["hidden"]),
        ]
    else:
        tables = {"tokens": table}
        nodes = [helper.make_node("Gather", ["tokens", "input_ids"], ["hidden"])]
    graph = helper.make_graph(
        nodes,
        "static",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])],
        [
            helper.make_tensor_value_info(
                "hidden", TensorProto.FLOAT, ["batch", "tokens", table.shape[1]]
            )
        ],
        [numpy_helper.from_array(values, name) for name, values in tables.items()],
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
