"""How long a change takes from PostgreSQL to a reader of the topic."""
import json, pathlib, subprocess, sys

from .postgres import PostgresCases
from .servers import SERVICES, WORK, Service, wait_for
from .worker import Worker

WATCH = pathlib.Path(__file__).resolve().parent / "watch_latency.py"
RATE, TABLE, TOPIC = 1000, "vs_latency", "vs.public.vs_latency"


class LatencyCases:
    """`pg-latency`: 1,000 rows a second, each committed alone; from the commit's time in the WAL to the record in a consumer of
    librdkafka, and from the statement's clock, which has the insert itself and its commit in it. Both send at once
    (linger.ms=0)."""

    def __init__(self, context):
        self.context, self.postgres = context, PostgresCases(context)
        self.seconds = 10 if context.quick else 60
        self.cases = {"pg-latency": self.latency}

    def latency(self, kind):
        subprocess.run([SERVICES / "registry", "install"], check=True, stdin=subprocess.DEVNULL)
        python = Service.of("registry")["AQ_REGISTRY_PYTHON"]
        postgres, slot, count = self.postgres, f"vs_latency_{kind}", RATE * self.seconds
        postgres.psql(f"drop table if exists {TABLE}")
        postgres.psql(f"create table {TABLE} (id bigserial primary key, at timestamptz, text text)")
        postgres.drop(slot)
        self.context.broker.fresh_topic(TOPIC)
        config = {**postgres.config(slot, "no_data"), "table.include.list": f"public.{TABLE}", "producer.override.linger.ms": "0"}
        worker = Worker(kind, self.context.env, self.context.binary, [postgres.server.env["AQ_DEBEZIUM"]])
        worker.connector(self.context.name(), config)
        streams = f"select count(*) from pg_replication_slots where slot_name = '{slot}' and active"
        wait_for(lambda: postgres.psql(streams) == "1", 60)
        script = WORK / "latency.sql"
        script.write_text(f"insert into {TABLE} (at, text) values (clock_timestamp(), repeat('x', 100));\n")
        insert = ["pgbench", "-n", "-h", "127.0.0.1", "-p", "28932", "-U", "postgres", "-f", str(script), "-c", "4", "-M", "prepared"]
        # until both ends are warm: nothing of it is measured
        subprocess.run([*insert, "-R", str(RATE), "-T", "10", "postgres"], check=True, capture_output=True)
        warm = int(postgres.psql(f"select count(*) from {TABLE}"))
        self.context.broker.wait_end(TOPIC, warm, 120)
        watch = subprocess.Popen([python, WATCH, self.context.broker.address, TOPIC, str(count)], stdout=subprocess.PIPE, text=True)
        if watch.stdout.readline().strip() != "ready":
            sys.exit("pg-latency: the consumer could not start")
        cpu = worker.cpu()
        subprocess.run([*insert, "-R", str(RATE), "-t", str(count // 4), "postgres"], check=True, capture_output=True)
        waits, since_statement = (sorted(values) for values in zip(*json.loads(watch.stdout.readline())))
        if len(waits) < count:
            sys.exit(f"pg-latency: {len(waits)} of {count} records arrived")
        row = {"p50 ms": waits[count // 2], "p99 ms": waits[count * 99 // 100], "max ms": waits[-1],
               "p99 ms since the statement": since_statement[count * 99 // 100],
               "CPU s per million": (worker.cpu() - cpu) / count * 1e6}
        worker.stop()
        return row
