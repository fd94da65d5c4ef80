# The engine without Kafka, as a notebook in cells: python examples/library.py

# %% A data set of yours, as in Path("ml-100k") or Path("events.csv"), or an invented stream
import tempfile
from itertools import islice
from pathlib import Path

from engine import EngineSettings, Recommender
from engine.datasets import Synthetic, open_dataset
from engine.evaluation.prequential import PrequentialEvaluator

path: Path | None = None
dataset = open_dataset(path) if path else Synthetic(events=600, seed=0)
items = list(dataset.items())
events = list(islice(dataset.interactions(), 10_000))
titles = {item.item: item.title for item in items}
print(f"{dataset.name}: {len(items):,} items, {len(events):,} events")

# %% Learn: each event is learnt at once, and answered with the user's new list
engine = Recommender.new(EngineSettings())
for item in items:
    engine.upsert_item(item)
for event in events:
    answer = engine.observe(event)
print(f"the last event took {sum(answer.stages_ns.values()) / 1e3:,.0f} µs")

# %% Recommend
user = events[-1].user
print(f"for user {user}:")
for ranked in engine.recommend(user, 5).items:
    print(f"  {ranked.score:6.2f}  {titles.get(ranked.item) or ranked.item}  ({ranked.reason})")

# %% Evaluate: a new engine ranks each event before it learns it
evaluator = PrequentialEvaluator(EngineSettings(), items)
for _ in evaluator.run(events):
    pass
report = evaluator.report()
popularity = report["baselines"]["popularity"]
print(f"NDCG@10 {report['ndcg@10']:.4f}, of popularity {popularity['ndcg@10']:.4f}")

# %% Save, and go on elsewhere
with tempfile.TemporaryDirectory() as folder:
    file = Path(folder, "engine.millrace")
    engine.save(file)
    again = Recommender.load(file)
    print(f"{file.name}: {file.stat().st_size:,} bytes")
assert again.recommend(user, 5).items == engine.recommend(user, 5).items
