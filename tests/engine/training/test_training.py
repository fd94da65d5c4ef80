"""Training on planted tastes: what is learnt, what is hidden, and that serving says the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra train (make install-train)")
pytest.importorskip("dgl", reason="needs the extra train (make install-train)")

from tokenizers import Tokenizer  # noqa: E402

from engine.events import item_text  # noqa: E402
from engine.text.tokens import token_table  # noqa: E402
from engine.trained import TrainedModel  # noqa: E402
from engine.trained.folder import LEVELS  # noqa: E402
from engine.training import TrainingError, load_recipe, train  # noqa: E402
from engine.training.data import read  # noqa: E402
from engine.training.joint import JointTrainer  # noqa: E402
from engine.training.model import Hybrid  # noqa: E402
from engine.training.quality import embeddings, validation_ndcg  # noqa: E402
from engine.training.recipe import Recipe  # noqa: E402
from engine.training.text import Tower, pairs, tune  # noqa: E402
from tests.engine.training.conftest import catalogue, planted  # noqa: E402

EPOCHS, ALONE = 30, 60


def with_encoder(name: str, encoder: Path, **changes: object) -> Recipe:
    recipe = load_recipe(name)
    assert recipe.text is not None
    text = recipe.text.model_copy(update={"encoder": str(encoder), "dimensions": 8, "epochs": 1})
    return recipe.model_copy(
        update={"text": text, "epochs": EPOCHS if recipe.epochs else 0} | changes
    )


@pytest.fixture(scope="module")
def hybrid(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "hybrid"
    train(with_encoder("hybrid", tiny_encoder), planted(), catalogue(), folder)
    return folder


def ranked_in_order(model: TrainedModel, users: int = 60) -> float:
    """How often an item of the genre that a user loves is scored above another."""
    names = [f"i{n}" for n in range(45)]
    right = []
    for user in range(users):
        scores = model.scores(f"u{user}", names)
        loved = np.arange(45) % 3 == user % 3
        right.append((scores[loved][:, None] > scores[~loved][None, :]).mean())
    return float(np.mean(right))


def test_the_graph_alone_learns_planted_tastes(tmp_path: Path) -> None:
    recipe = load_recipe("gnn").model_copy(update={"epochs": ALONE})
    report = train(recipe, planted(), catalogue(), tmp_path / "gnn", validate=True, target=0.9)
    assert ranked_in_order(TrainedModel.load(tmp_path / "gnn")) > 0.9
    assert report.epoch_losses[-1] < report.epoch_losses[0]
    assert len(report.epoch_quality) == len(report.epoch_seconds) == ALONE
    first = next(n for n, q in enumerate(report.epoch_quality) if q >= 0.9)
    assert report.seconds_to_quality == report.epoch_seconds[first] <= report.seconds


def test_the_hybrid_learns_them_and_is_served_as_it_was_trained(hybrid: Path) -> None:
    model = TrainedModel.load(hybrid)
    assert ranked_in_order(model) > 0.9
    assert np.allclose(model.user_embeddings(), embeddings(model.tables), atol=1e-4)
    assert model.request("u0", "love story", 5) != model.recommend("u0", 5)
    report = json.loads((hybrid / "report.json").read_text())
    assert report["trainable_parameters"] == report["parameters"] > 0


def test_equal_seeds_give_equal_models(tmp_path: Path) -> None:
    recipe = load_recipe("gnn").model_copy(update={"epochs": 2})
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(recipe, planted(), catalogue(), tmp_path / name, seed=seed)
    a, b, c = (TrainedModel.load(tmp_path / name).tables.outputs for name in "abc")
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_serving_scores_what_the_model_says() -> None:
    data = read(planted(), catalogue())
    recipe = load_recipe("gnn")
    torch.manual_seed(0)
    model = Hybrid(recipe, data, None)
    trainer = JointTrainer(recipe, data, model, 0)
    tables = model.tables(data, trainer.graph)
    users, items = torch.arange(60), torch.arange(45)
    import dgl

    block = dgl.to_block(trainer.graph, {"user": users, "item": items})
    counts = [torch.from_numpy(np.bincount(ids)) for ids in (data.user, data.item)]
    with torch.no_grad():
        e, z = model.users(block, users, counts[0]), model.items(block, items, counts[1])
        said = model.likes(e[:45], z).mean(1) + model.item_bias + data.mean
    like = model.shape.like
    served = (embeddings(tables)[:45, :like] * tables.outputs[:, :like]).sum(1) + tables.like_bias
    assert np.allclose(said.numpy(), served, atol=1e-4)
    # And one user by hand, from the definition.
    mine = data.user == 7
    x, y = model.item_x[data.item[mine]], model.item_y[data.item[mine]]
    level = torch.from_numpy(LEVELS[data.level[mine]])[:, None]
    n = int(mine.sum())
    by_hand = model.own[7] + (level * x + y).mean(0) * n / (3 * (n + 5) ** 0.5)
    assert torch.allclose(e[7], by_hand, atol=1e-4)


def test_what_is_foretold_is_not_in_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    data = read(planted(), catalogue())
    recipe = load_recipe("gnn").model_copy(update={"fanout": 1000})
    trainer = JointTrainer(recipe, data, Hybrid(recipe, data, None), 0)
    calls = []
    sample = trainer._sampler.sample_blocks

    def watched(graph, seeds, exclude_eids):
        found = sample(graph, seeds, exclude_eids=exclude_eids)
        calls.append((exclude_eids, found[2][0]))
        return found

    monkeypatch.setattr(trainer._sampler, "sample_blocks", watched)
    for users in trainer.epoch():
        trainer.loss(users)
    for hidden, block in calls:
        (foretold,) = {tuple(edges.tolist()) for edges in hidden.values()}
        foretold = set(foretold)
        assert len(foretold) > 100
        for direction in ("took", "taken by"):
            read_edges = set(block.edges[direction].data["_ID"].tolist())
            assert len(read_edges) > 500
            assert not foretold & read_edges


def test_validation_ndcg_is_that_of_the_definition() -> None:
    data, held = read(planted(), catalogue()).halves(0)
    recipe = load_recipe("gnn")
    torch.manual_seed(3)
    model = Hybrid(recipe, data, None)
    tables = model.tables(data, JointTrainer(recipe, data, model, 0).graph)
    like, e = model.shape.like, embeddings(tables)
    found = []
    for user in range(60):
        rows = [n for n in range(len(held.user)) if held.user[n] == user]
        score = {
            n: e[user, :like] @ tables.outputs[held.item[n], :like] + tables.like_bias[held.item[n]]
            for n in rows
        }
        order = sorted(rows, key=lambda n: (-score[n], held.item[n]))
        gains = [float(held.value[n] >= 4) for n in order]
        best = sorted(gains, reverse=True)
        if any(gains):
            found.append(
                sum(g / np.log2(p + 2) for p, g in enumerate(gains[:10]))
                / sum(g / np.log2(p + 2) for p, g in enumerate(best[:10]))
            )
    assert validation_ndcg(tables, held, like) == pytest.approx(np.mean(found))


def test_halves_share_nothing_and_biases_are_of_the_half() -> None:
    whole = read(planted(), catalogue())
    data, held = whole.halves(0)
    shown = set(zip(data.user.tolist(), data.item.tolist(), strict=True))
    hidden = set(zip(held.user.tolist(), held.item.tolist(), strict=True))
    assert not shown & hidden
    assert len(shown) + len(hidden) == len(whole.user)
    assert data.mean == pytest.approx(data.value.mean(), abs=1e-5)
    assert data.mean != whole.mean


def test_pairs_are_of_what_one_user_liked() -> None:
    data = read(planted(), catalogue())
    liked = set(zip(data.user[data.liked].tolist(), data.item[data.liked].tolist(), strict=True))
    found = pairs(data, np.random.default_rng(0))
    assert len(found) > 30
    for first, second in found.tolist():
        assert first != second
        assert any({(user, first), (user, second)} <= liked for user in range(60))


def test_adapters_alone_are_learnt_and_merge_into_what_was_trained(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    recipe = with_encoder("hybrid-lora", tiny_encoder)
    assert recipe.text is not None
    data = read(planted(), catalogue())
    tower = Tower(recipe.text, data.texts)
    before = tower.everything()
    tower.prepare()
    # The frozen layers were run once: what they gave must lead to what the whole encoder says.
    assert np.allclose(tower.everything(), before, atol=1e-5)
    tune(tower, data, 0, lambda *_: None, lambda _: None)
    names = [name for name, p in tower.named_parameters() if p.requires_grad]
    assert names
    assert all("lora_" in name and "layer.1." in name for name in names)
    after = tower.everything()
    assert not np.allclose(after, before, atol=1e-4)
    tower.save(tmp_path)
    merged = Tower(
        recipe.text.model_copy(update={"encoder": str(tmp_path / "encoder"), "tune": "none"}),
        data.texts,
    )
    assert np.allclose(merged.everything(), after, atol=2e-5)
    assert (tmp_path / "adapters" / "adapter_model.safetensors").is_file()


def test_the_exported_encoder_says_what_torch_says(hybrid: Path, tiny_encoder: Path) -> None:
    recipe = with_encoder("hybrid", hybrid / "encoder")
    assert recipe.text is not None
    texts = [item.title for item in catalogue()[:5]]
    part = recipe.text.model_copy(update={"tune": "none"})
    model = TrainedModel.load(hybrid)
    assert model.encoder is not None
    found = [model.encoder.encode(text) for text in texts]
    assert np.allclose(found, Tower(part, texts).everything(), atol=1e-4)


def test_in_8_bits_it_ranks_as_the_hybrid_does(
    hybrid: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    recipe = with_encoder("hybrid-int8", tiny_encoder)
    train(recipe, planted(), catalogue(), tmp_path / "int8", start=hybrid)
    small, exact = TrainedModel.load(tmp_path / "int8"), TrainedModel.load(hybrid)
    names = [f"i{n}" for n in range(45)]
    for user in ("u0", "u31"):
        found, wanted = small.scores(user, names), exact.scores(user, names)
        assert np.corrcoef(found, wanted)[0, 1] > 0.995
    assert small.encoder is not None
    assert exact.encoder is not None
    said, meant = (m.encoder.encode("a love story") for m in (small, exact))
    assert not np.array_equal(said, meant)
    assert said @ meant > 0.98


def test_a_student_learns_what_its_teacher_says(
    hybrid: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    recipe = with_encoder("hybrid-distilled", tiny_encoder)
    train(recipe, planted(), catalogue(), tmp_path / "student", start=hybrid)
    student, teacher = TrainedModel.load(tmp_path / "student"), TrainedModel.load(hybrid)
    names = [f"i{n}" for n in range(45)]
    for user in ("u0", "u31"):
        found, wanted = student.scores(user, names), teacher.scores(user, names)
        assert np.corrcoef(found, wanted)[0, 1] > 0.8
    assert student.tables.outputs.shape[1] < teacher.tables.outputs.shape[1]
    with pytest.raises(TrainingError, match="builds on hybrid"):
        train(recipe, planted(), catalogue(), tmp_path / "x", start=tmp_path / "student")
    with pytest.raises(TrainingError, match="held out"):
        train(recipe, planted(), catalogue(), tmp_path / "x", start=hybrid, validate=True)


def test_deepspeed_trains_on_two_ranks(tiny_encoder: Path, tmp_path: Path) -> None:
    events, items = planted(120, 150, 30), catalogue(150)
    recipe = with_encoder("hybrid-deepspeed", tiny_encoder, epochs=5)
    report = train(recipe, events, items, tmp_path / "model")
    assert len(report.memory_mb_per_rank) == 2
    assert report.epoch_losses[-1] < report.epoch_losses[0]
    zero = next(note for note in report.notes if note.startswith("ZeRO"))
    first, second, without = (float(word) for word in zero.replace(",", "").split() if "." in word)
    assert first == pytest.approx(second, abs=0.1)
    assert first == pytest.approx(without / 2, rel=0.2)
    model = TrainedModel.load(tmp_path / "model")
    assert type(model.encoder).__name__ == "DeepSpeedEncoder"
    # The pipeline moved the layers of both stages.
    from safetensors.numpy import load_file

    start, end = (
        load_file(f / "model.safetensors") for f in (tiny_encoder, tmp_path / "model" / "encoder")
    )
    for layer in (0, 1):
        name = f"encoder.layer.{layer}.attention.self.query.weight"
        assert not np.array_equal(start[name], end[name])
    assert model.request("u0", "love story", 3)


def test_token_embeddings_of_llms_are_tuned_and_served_in_8_bits(tmp_path: Path) -> None:
    shipped = load_recipe("hybrid-llm-static")
    recipe = shipped.model_copy(update={"epochs": EPOCHS})
    train(recipe, planted(), catalogue(), tmp_path / "model")
    model = TrainedModel.load(tmp_path / "model")
    assert ranked_in_order(model) > 0.9
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(tmp_path / "model" / "encoder.onnx")).graph
    held = {table.name: numpy_helper.to_array(table) for table in graph.initializer}
    assert held["tokens"].dtype == np.int8
    assert held["tokens"].shape == (32_000, 256)
    tuned, packaged = held["tokens"] * held["scales"], token_table()
    off = np.abs(tuned - packaged).max(1) / np.abs(packaged).max(1).clip(1e-6)
    tokenizer = Tokenizer.from_file(str(tmp_path / "model" / "tokenizer.json"))
    read_here = [number for number in tokenizer.encode("space story").ids if number > 2]
    unread = tokenizer.encode("quarterly dividend").ids[-1]
    assert (off[read_here] > 0.005).all(), "tokens of the catalogue's texts were tuned"
    assert off[unread] < 0.005, "others are as packaged, but for 8 bits"
    # What a request's text is projected to is what the catalogue's texts were.
    assert model.encoder is not None
    said = [model.encoder.encode(item_text(item)) for item in catalogue()[:6]]
    projected = (np.array(said) - model.tables.text_mean) @ model.tables.text_basis.T
    projected /= np.linalg.norm(projected, axis=1, keepdims=True)
    assert ((projected * model.tables.texts[:6]).sum(1) > 0.99).all()
    assert model.request("u0", "", 3)


def decoder_recipe(decoder: Path, **changes: object) -> Recipe:
    recipe = with_encoder("hybrid-lora", decoder)
    assert recipe.text is not None
    text = recipe.text.model_copy(update={"pooling": "last", "learning_rate": 1e-2} | changes)
    return recipe.model_copy(update={"text": text})


def test_a_decoder_says_at_its_last_token_and_learns_in_its_attention(
    tiny_decoder: Path, tmp_path: Path
) -> None:
    recipe = decoder_recipe(tiny_decoder, lora_layers=2)
    assert recipe.text is not None
    data = read(planted(), catalogue())
    tower = Tower(recipe.text, data.texts)
    last = tower.ids[torch.arange(len(tower.ids)), tower.mask.sum(1) - 1]
    assert (last == tower.tokenizer.eos_token_id).all()
    before = tower.everything()
    # A batch pads its texts to one length: each must be embedded as it is alone.
    alone = np.concatenate(
        [tower(torch.tensor([item])).detach().numpy() for item in range(len(tower.ids))]
    )
    assert np.allclose(before, alone, atol=1e-5)
    tower.prepare()
    tune(tower, data, 0, lambda *_: None, lambda _: None)
    learnt = [name for name, p in tower.named_parameters() if p.requires_grad]
    assert len(learnt) == 2 * 2 * 4, "two matrices for each of q, k, v and o of two layers"
    assert all("self_attn" in name and "lora_" in name for name in learnt)
    after = tower.everything()
    assert not np.allclose(after, before, atol=1e-3)
    tower.save(tmp_path)
    merged = recipe.text.model_copy(update={"encoder": str(tmp_path / "encoder"), "tune": "none"})
    assert np.allclose(Tower(merged, data.texts).everything(), after, atol=2e-5)


def test_a_decoder_is_served_as_it_was_trained_and_in_8_bits(
    tiny_decoder: Path, tmp_path: Path
) -> None:
    exact, small = tmp_path / "exact", tmp_path / "small"
    recipe = decoder_recipe(tiny_decoder)
    train(recipe, planted(), catalogue(), exact)
    in_8_bits = {"serving": recipe.serving.model_copy(update={"int8": True})}
    train(recipe.model_copy(update=in_8_bits), planted(), catalogue(), small)
    models = [TrainedModel.load(folder) for folder in (exact, small)]
    assert ranked_in_order(models[0]) > 0.9
    texts = [item_text(item) for item in catalogue()[:5]]
    assert recipe.text is not None
    part = recipe.text.model_copy(update={"encoder": str(exact / "encoder"), "tune": "none"})
    trained = Tower(part, texts).everything()
    served, quantised = (
        np.array([model.encoder.encode(text) for text in texts])
        for model in models
        if model.encoder is not None
    )
    assert np.allclose(served, trained, atol=1e-4)
    assert not np.array_equal(quantised, served)
    assert ((quantised * served).sum(1) > 0.98).all()
    sizes = [(folder / "encoder.onnx").stat().st_size for folder in (exact, small)]
    assert sizes[1] < sizes[0]
    for model in models:
        assert model.request("u0", "", 3), "an empty text still has a last token"


def test_a_decoder_without_an_end_is_refused(tiny_decoder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "decoder"
    shutil.copytree(tiny_decoder, folder)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        file = folder / name
        known = json.loads(file.read_text())
        del known["eos_token"]
        file.write_text(json.dumps(known))
    with pytest.raises(TrainingError, match="has no eos token"):
        train(decoder_recipe(folder), planted(), catalogue(), tmp_path / "model")


def test_nobody_took_anything(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="nothing to learn from"):
        train(load_recipe("gnn"), [], catalogue(), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("mother")
    with pytest.raises(TrainingError, match="holds no model"):
        train(load_recipe("gnn"), planted(), catalogue(), tmp_path / "letters")
    assert (tmp_path / "letters" / "dear.txt").read_text() == "mother"
