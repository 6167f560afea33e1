"""Cases of files: start, file -> topic, topic -> file, and JSON with schema through two transforms."""
import hashlib, json, os, subprocess, sys, time

from .servers import WORK, say, wait_for
from .worker import JSON, STRING, Worker


def lines_file(count):
    path = WORK / f"lines-{count}.txt"
    if not path.exists():
        say(f"making {count} lines of 116 bytes")
        fill = "abcdefghijklmnopqrstuvwxyz0123456789" * 5
        with open(path, "w") as file:
            for i in range(count):
                head = f"{i:010d} "
                file.write(head + fill[i % 36:i % 36 + 116 - len(head)] + "\n")
    return path


def json_topic(broker, count):
    say(f"filling a topic with {count} JSON records")
    types = dict(id="int64", customer="int32", email="string", amount="double", city="string", status="string",
                 ssn="string", active="boolean", created="int64", note="string")
    fields = [{"field": f, "type": t, "optional": f not in ("id", "customer")} for f, t in types.items()]
    schema = json.dumps({"type": "struct", "name": "order", "optional": False, "fields": fields}, separators=(",", ":"))
    path = WORK / f"json-{count}.txt"
    with open(path, "w") as file:
        for i in range(1, count + 1):
            row = dict(id=i, customer=i % 50000, email=f"user{i}@example.com", amount=i * 37 % 100000 / 100,
                       city="Amsterdam", status="SHIPPED", ssn=f"{i:09d}", active=i % 2 == 0, created=1700000000000 + i,
                       note=hashlib.md5(str(i).encode()).hexdigest())
            file.write(f'{{"schema":{schema},"payload":{json.dumps(row, separators=(",", ":"))}}}\n')
    broker.fresh_topic("vs-json")
    with open(path) as file:
        broker.tool("org.apache.kafka.tools.ConsoleProducer", "--bootstrap-server", broker.address, "--topic", "vs-json",
                    "--batch-size", "262144", "--command-property", "linger.ms=20", stdin=file)
    broker.wait_end("vs-json", count, 120)
    return path.stat().st_size


def tail_has(path, text):
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - 600))
            return text in file.read()
    except FileNotFoundError:
        return False


class FileCases:
    """`file-source` runs before `file-sink`, which reads its topic."""

    def __init__(self, context):
        self.context, self.broker = context, context.broker
        self.lines, self.rows = (2_000_000, 200_000) if context.quick else (10_000_000, 1_000_000)
        self.json_bytes = None
        self.cases = {"startup": self.startup, "file-source": self.file_source, "file-sink": self.file_sink, "json": self.json}

    def worker(self, kind):
        return Worker(kind, self.context.env, self.context.binary)

    def name(self):
        return self.context.name()

    def startup(self, kind):
        worker = self.worker(kind)
        time.sleep(3)
        row = {"start to REST ms": worker.start_s * 1000, "idle MiB": worker.memory("VmRSS")}
        worker.stop()
        return row

    def file_source(self, kind):
        path = lines_file(self.lines)
        self.broker.fresh_topic("vs-lines")
        config = {"connector.class": "FileStreamSource", "file": str(path), "topic": "vs-lines", "batch.size": "5000",
                  "key.converter": STRING, "value.converter": STRING, "tasks.max": "1"}
        return self.worker(kind).measured(self.name(), config, self.lines, path.stat().st_size,
                                          lambda: self.broker.wait_end("vs-lines", self.lines))

    def file_sink(self, kind):
        path, out = lines_file(self.lines), WORK / "out-lines"
        out.unlink(missing_ok=True)
        config = {"connector.class": "FileStreamSink", "file": str(out), "topics": "vs-lines", "tasks.max": "1",
                  "key.converter": STRING, "value.converter": STRING}
        size = path.stat().st_size
        row = self.worker(kind).measured(self.name(), config, self.lines, size,
                                         lambda: wait_for(lambda: out.exists() and out.stat().st_size >= size))
        if subprocess.run(["cmp", "-s", path, out]).returncode != 0:
            sys.exit(f"file-sink: {kind} wrote other bytes than it was given")
        out.unlink()
        return row

    def json(self, kind):
        if self.json_bytes is None:
            self.json_bytes = json_topic(self.broker, self.rows)
        out = WORK / "out-json"
        out.unlink(missing_ok=True)
        smt = "org.apache.kafka.connect.transforms."
        config = {"connector.class": "FileStreamSink", "file": str(out), "topics": "vs-json", "tasks.max": "1",
                  "key.converter": STRING, "value.converter": JSON, "value.converter.schemas.enable": "true",
                  "transforms": "insert,mask", "transforms.insert.type": smt + "InsertField$Value",
                  "transforms.insert.static.field": "source", "transforms.insert.static.value": "lab",
                  "transforms.mask.type": smt + "MaskField$Value", "transforms.mask.fields": "ssn,email"}
        row = self.worker(kind).measured(self.name(), config, self.rows, self.json_bytes,
                                         lambda: wait_for(lambda: tail_has(out, f"id={self.rows},".encode())))
        digest = hashlib.sha256(out.read_bytes()).hexdigest()
        if getattr(self, "json_digest", digest) != digest:
            sys.exit("json: the two workers wrote different bytes")
        self.json_digest = digest
        out.unlink()
        return row
