"""Cases of Avro in Confluent's wire format with a real registry; the JVM's side has Apicurio's AvroConverter."""
import hashlib, pathlib, subprocess, sys

from .files import lines_file, tail_has
from .servers import WORK, Service, say, wait_for
from .worker import STRING, Worker

HERE = pathlib.Path(__file__).resolve().parent
SMT = "org.apache.kafka.connect.transforms."


def plugin(broker):
    """The folder of the JVM's converter, with the manifests that plugin.discovery=service_load needs."""
    folder = WORK / "avro-plugin"
    if not (folder / ".installed").exists():
        say("installing Apicurio's AvroConverter from Maven")
        command = ["mvn", "-q", "-B", "-f", HERE / "avro-pom.xml", "dependency:copy-dependencies", f"-DoutputDirectory={folder}/apicurio"]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        broker.tool("org.apache.kafka.tools.ConnectPluginPath", "sync-manifests", "--plugin-location", f"{folder}/apicurio")
        (folder / ".installed").touch()
    return str(folder)


class AvroCases:
    """`avro-sink`: records of eight fields from a topic through InsertField, MaskField and ReplaceField into a file.
    `avro-source`: lines of a file through HoistField and InsertField twice into a topic."""

    def __init__(self, context):
        self.context, self.broker, self.registry = context, context.broker, None
        self.rows = 300_000 if context.quick else 3_000_000
        self.size, self.digest = None, None
        self.cases = {"avro-sink": self.sink, "avro-source": self.source}

    def prepare(self):
        if self.registry is None:
            self.registry = Service("registry")
            self.plugin = plugin(self.broker)

    def converter(self, kind):
        if kind == "aqueduct":
            return {"value.converter": "io.confluent.connect.avro.AvroConverter",
                    "value.converter.schema.registry.url": self.registry.env["AQ_REGISTRY"]}
        base = self.registry.env["AQ_REGISTRY"].rpartition("/apis/")[0]
        settings = {"url": f"{base}/apis/registry/v2", "auto-register": "true", "find-latest": "true", "as-confluent": "true",
                    "use-id": "contentId", "headers.enabled": "false"}
        return {"value.converter": "io.apicurio.registry.utils.converter.AvroConverter",
                **{f"value.converter.apicurio.registry.{key}": value for key, value in settings.items()},
                **{f"value.converter.{key}": value for key, value in settings.items() if key != "url"}}

    def worker(self, kind):
        return Worker(kind, self.context.env, self.context.binary, [self.plugin])

    def sink(self, kind):
        self.prepare()
        if self.size is None:
            say(f"filling a topic with {self.rows} Avro records")
            self.broker.fresh_topic("vs-avro")
            command = [self.registry.env["AQ_REGISTRY_PYTHON"], HERE / "fill_avro.py", self.broker.address,
                       self.registry.env["AQ_REGISTRY"], "vs-avro", str(self.rows)]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
            self.broker.wait_end("vs-avro", self.rows, 60)
            self.size = 0
        out = WORK / "out-avro"
        out.unlink(missing_ok=True)
        config = {"connector.class": "FileStreamSink", "file": str(out), "topics": "vs-avro", "tasks.max": "1",
                  "key.converter": STRING, **self.converter(kind), "transforms": "insert,mask,replace",
                  "transforms.insert.type": SMT + "InsertField$Value", "transforms.insert.static.field": "source",
                  "transforms.insert.static.value": "lab", "transforms.mask.type": SMT + "MaskField$Value",
                  "transforms.mask.fields": "email", "transforms.replace.type": SMT + "ReplaceField$Value",
                  "transforms.replace.exclude": "comment", "transforms.replace.renames": "name:customer"}
        row = self.worker(kind).measured(self.context.name(), config, self.rows, self.size,
                                         lambda: wait_for(lambda: tail_has(out, f"id={self.rows},".encode())))
        digest = hashlib.sha256(out.read_bytes()).hexdigest()
        if self.digest not in (None, digest):
            sys.exit(f"avro-sink: the two workers wrote different bytes: see {out}")
        self.digest = digest
        return row

    def source(self, kind):
        self.prepare()
        path = lines_file(2_000_000 if self.context.quick else 10_000_000)
        lines = int(path.stem.rpartition("-")[2])
        self.broker.fresh_topic("vs-avro-lines")
        config = {"connector.class": "FileStreamSource", "file": str(path), "topic": "vs-avro-lines", "batch.size": "5000",
                  "tasks.max": "1", "key.converter": STRING, **self.converter(kind), "transforms": "hoist,topic,insert",
                  "transforms.hoist.type": SMT + "HoistField$Value", "transforms.hoist.field": "line",
                  "transforms.topic.type": SMT + "InsertField$Value", "transforms.topic.topic.field": "topic",
                  "transforms.insert.type": SMT + "InsertField$Value", "transforms.insert.static.field": "source",
                  "transforms.insert.static.value": "lab"}
        return self.worker(kind).measured(self.context.name(), config, lines, path.stat().st_size,
                                          lambda: self.broker.wait_end("vs-avro-lines", lines))
