"""Every answer as it comes, by confluent-kafka: python examples/subscriber.py"""

import json
import os

from confluent_kafka import Consumer

answers = Consumer(  # which sees each answer once, also of a worker that writes transactions
    {
        "bootstrap.servers": os.environ.get("MILLRACE_BROKER__BOOTSTRAP", "127.0.0.1:9092"),
        "group.id": "my-subscriber",  # goes on where it was
        "auto.offset.reset": "earliest",
    }
)
answers.subscribe([os.environ.get("MILLRACE_TOPICS__RECOMMENDATIONS", "millrace.recommendations")])
while True:
    if (message := answers.poll(1.0)) is not None and not message.error():
        answer = json.loads(message.value())
        print(answer["user"] + ":", *(entry["item"] for entry in answer["items"]), flush=True)
