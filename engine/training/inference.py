"""An encoder behind DeepSpeed's inference engine, in serving (extra `train`).

On a GPU `init_inference` injects its kernels. On a CPU it has none for encoders: it then runs the
same modules that transformers would, and says nothing of it; so do we, here and in the docs.
"""

from __future__ import annotations

import os

os.environ.setdefault("DS_ACCELERATOR", "cpu" if not os.path.exists("/dev/nvidia0") else "cuda")

import deepspeed
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel

from engine.trained.folder import Folder, TrainedModelError
from engine.training.text import pool, tokenizer_of


class DeepSpeedEncoder:
    """A folder's `encoder/`, as `engine.trained.encoder.Encoder`."""

    def __init__(self, folder: Folder) -> None:
        source = folder.path / "encoder"
        if folder.recipe.text is None or not source.is_dir():
            raise TrainedModelError(f"{folder.path}: encoder/ is missing")
        self._part = folder.recipe.text
        self._tokenizer = tokenizer_of(str(source), self._part.pooling)
        model = AutoModel.from_pretrained(str(source), dtype=torch.float32).eval()
        self.injects = torch.cuda.is_available()
        self._engine = deepspeed.init_inference(
            model, dtype=torch.float32, replace_with_kernel_inject=self.injects
        )

    @torch.inference_mode()
    def encode(self, text: str) -> NDArray[np.float32]:
        """See `Encoder.encode`."""
        found = self._tokenizer(
            text, truncation=True, max_length=self._part.tokens, return_tensors="pt"
        ).to(self._engine.module.device)
        hidden = self._engine(**found).last_hidden_state
        unit: NDArray[np.float32] = (
            pool(hidden, found["attention_mask"], self._part.pooling)[0].cpu().numpy()
        )
        return unit
