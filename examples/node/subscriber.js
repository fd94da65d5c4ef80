// Every answer as it comes, by kafkajs: node examples/node/subscriber.js
const { Kafka, logLevel } = require("kafkajs");

const broker = process.env.MILLRACE_BROKER__BOOTSTRAP || "127.0.0.1:9092";
const topic = process.env.MILLRACE_TOPICS__RECOMMENDATIONS || "millrace.recommendations";
const kafka = new Kafka({ brokers: [broker], logLevel: logLevel.ERROR });
const consumer = kafka.consumer({
  groupId: "millrace-example-node",
  readUncommitted: false, // each answer once, also after a worker was killed
});

async function main() {
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({
    eachMessage: async ({ message }) => {
      const answer = JSON.parse(message.value.toString());
      console.log(`${answer.user}:`, ...answer.items.map((entry) => entry.item));
    },
  });
}

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => consumer.disconnect().then(() => process.exit(0)));
}
main().catch((error) => {
  console.error(`${broker}: ${error.message}`);
  process.exit(1);
});
