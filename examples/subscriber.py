"""Every answer as it comes, by kafka-python: python examples/subscriber.py"""

import json
import os

from kafka import KafkaConsumer

answers = KafkaConsumer(
    os.environ.get("MILLRACE_TOPICS__RECOMMENDATIONS", "millrace.recommendations"),
    bootstrap_servers=os.environ.get("MILLRACE_BROKER__BOOTSTRAP", "127.0.0.1:9092"),
    auto_offset_reset="earliest",
    isolation_level="read_committed",  # each answer once, also after a worker was killed
)
for message in answers:
    answer = json.loads(message.value)
    print(answer["user"] + ":", *(entry["item"] for entry in answer["items"]), flush=True)
