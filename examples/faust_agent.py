"""A Faust agent that counts what is recommended most: python examples/faust_agent.py"""

import os
from collections import Counter

import faust

app = faust.App(
    "millrace-example-faust",
    broker="kafka://" + os.environ.get("MILLRACE_BROKER__BOOTSTRAP", "127.0.0.1:9092"),
    consumer_auto_offset_reset="earliest",
    store="memory://",
    topic_allow_declare=False,  # `millrace topics create` makes the topics
    topic_disable_leader=True,
    web_enabled=False,
)
recommendations = app.topic(
    os.environ.get("MILLRACE_TOPICS__RECOMMENDATIONS", "millrace.recommendations"),
    value_serializer="json",
)
newest: dict[int, int] = {}
times: Counter[str] = Counter()


@app.agent(recommendations)
async def count(answers: faust.Stream) -> None:
    async for answer in answers:
        # Faust reads what is not committed yet, too: an answer that a worker began to write before
        # it was killed comes twice. The second one's input offset is not above the first one's.
        source = answer["source"]
        if source["offset"] <= newest.get(source["partition"], -1):
            continue
        newest[source["partition"]] = source["offset"]
        times.update(entry["item"] for entry in answer["items"])
        print(f"{answer['user']}:", *times.most_common(3), flush=True)


if __name__ == "__main__":
    faust.Worker(
        app, loglevel="warn", quiet=True, redirect_stdouts=False
    ).execute_from_commandline()
