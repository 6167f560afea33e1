"""Fills a topic with Avro records of eight fields, by Confluent's Python client: fill_avro.py BROKER REGISTRY TOPIC COUNT"""
import json, sys

from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

SCHEMA = {"type": "record", "name": "Customer", "namespace": "shop", "fields": [
    {"name": "id", "type": "long"}, {"name": "name", "type": "string"}, {"name": "email", "type": ["null", "string"], "default": None},
    {"name": "amount", "type": "double"}, {"name": "active", "type": "boolean"},
    {"name": "created_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "comment", "type": ["null", "string"], "default": None}, {"name": "visits", "type": "int"}]}

broker, registry, topic, count = *sys.argv[1:4], int(sys.argv[4])
serialize = AvroSerializer(SchemaRegistryClient({"url": registry}), json.dumps(SCHEMA))
context = SerializationContext(topic, MessageField.VALUE)
producer = Producer({"bootstrap.servers": broker, "linger.ms": 50, "queue.buffering.max.messages": 1000000})
for i in range(1, count + 1):
    row = {"id": i, "name": f"customer {i:06d}", "email": f"user{i}@example.com" if i % 4 else None, "amount": i * 37 % 100000 / 100,
           "active": i % 2 == 0, "created_at": 1700000000000 + i, "comment": "called twice, no answer" if i % 3 else None,
           "visits": i % 1000}
    producer.produce(topic, serialize(row, context))
    if i % 10000 == 0:
        producer.poll(0)
producer.flush()
