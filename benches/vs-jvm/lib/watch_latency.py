"""Reads a topic of changes of one table and prints, as JSON, how many milliseconds after its commit and after `at` each row could
be read: watch_latency.py BROKER TOPIC COUNT. The commit's time is that of its record in the WAL (`source.ts_us`); `at` is a
timestamptz that the row's own statement took from the clock."""
import datetime, json, sys, time

from confluent_kafka import Consumer, TopicPartition

broker, topic, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
consumer = Consumer({"bootstrap.servers": broker, "group.id": f"vs-latency-{time.time_ns()}", "auto.offset.reset": "error",
                     "fetch.wait.max.ms": 100, "fetch.error.backoff.ms": 10, "enable.auto.commit": False})
_, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)
consumer.assign([TopicPartition(topic, 0, end)])
print("ready", flush=True)
waits, give_up = [], time.time() + 120
while len(waits) < count and time.time() < give_up:
    message = consumer.poll(1)
    if message is None or message.error():
        continue
    now = time.time()
    change = json.loads(message.value())
    at = datetime.datetime.fromisoformat(change["after"]["at"].replace("Z", "+00:00"))
    waits.append((now * 1000 - change["source"]["ts_us"] / 1000, (now - at.timestamp()) * 1000))
print(json.dumps(waits), flush=True)
