"""An independent client of a schema registry: Confluent's own Python client with its Avro (fastavro) serializers.

    registry.py produce BOOTSTRAP REGISTRY TOPIC COUNT    orders with every kind of field, a tombstone after them
    registry.py consume BOOTSTRAP REGISTRY TOPIC COUNT    prints COUNT values as JSON, a line each
"""
import datetime
import decimal
import json
import sys

from confluent_kafka import Consumer, Producer
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

COLOR = {"type": "enum", "name": "shop.Color", "symbols": ["RED", "GREEN"]}
ORDER = {
    "type": "record", "name": "Order", "namespace": "shop",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "customer", "type": "string"},
        {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}},
        {"name": "created", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "color", "type": "shop.Color"},
        {"name": "note", "type": ["null", "string"], "default": None},
        {"name": "either", "type": ["null", "int", "string"], "default": None},
        {"name": "tags", "type": {"type": "map", "values": "int"}},
        {"name": "parts", "type": {"type": "array", "items": {
            "type": "record", "name": "Part", "fields": [{"name": "name", "type": "string"}]}}},
    ],
}


def order(number):
    return {
        "id": number,
        "customer": f"customer ü {number}",
        "amount": decimal.Decimal(number) / 4,
        "created": datetime.datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=datetime.timezone.utc),
        "color": ("RED", "GREEN")[number % 2],
        "note": None if number % 3 == 0 else "n" * (number % 70),
        "either": (None, number, "text")[number % 3],
        "tags": {"t": number},
        "parts": [{"name": f"p{part}"} for part in range(number % 4)],
    }


def produce(bootstrap, registry, topic, count):
    client = SchemaRegistryClient({"url": registry})
    # the enum is a schema of its own, which the order refers to
    client.register_schema(f"{topic}-color", Schema(json.dumps(COLOR), "AVRO"))
    reference = SchemaReference("shop.Color", f"{topic}-color", 1)
    serializer = AvroSerializer(client, Schema(json.dumps(ORDER), "AVRO", [reference]))
    producer = Producer({"bootstrap.servers": bootstrap})
    context = SerializationContext(topic, MessageField.VALUE)
    for number in range(count):
        producer.produce(topic, key=str(number), value=serializer(order(number), context), partition=0)
    producer.produce(topic, key="gone", value=None, partition=0)
    producer.flush()


def consume(bootstrap, registry, topic, count):
    deserializer = AvroDeserializer(SchemaRegistryClient({"url": registry}))
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    context = SerializationContext(topic, MessageField.VALUE)
    while count:
        message = consumer.poll(1)
        if message is None or message.error():
            continue
        print(json.dumps(deserializer(message.value(), context), default=str))
        count -= 1
    consumer.close()


if __name__ == "__main__":
    {"produce": produce, "consume": consume}[sys.argv[1]](*sys.argv[2:5], int(sys.argv[5]))
