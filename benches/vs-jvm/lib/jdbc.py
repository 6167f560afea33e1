"""Cases of JDBC: a topic into a table, beside Debezium's JDBC sink and what PostgreSQL does by itself; a table into a topic."""
import subprocess, time

from .files import json_topic
from .postgres import PostgresCases
from .servers import WORK, say, wait_for
from .worker import JSON, Worker

COLUMNS = ("id bigint primary key, customer int not null, email text, amount double precision, city text, status text, "
           "ssn text, active boolean, created bigint, note text")
TABLE, BARE = "vs_sink", "vs_bare"
ROWS_PER_INSERT = 1000


class JdbcCases:
    """`jdbc-insert`: JSON with schema, ten fields, into an empty table with a primary key; beside it COPY of the same rows in
    binary by one session. `jdbc-upsert`: into a table that has every second row already; beside it INSERT … ON CONFLICT DO UPDATE of
    1,000 rows a statement by one session. `jdbc-source` (--only aqueduct: no JVM connector of the kind is on Maven Central): bulk
    of that table into JSON without schema."""

    def __init__(self, context):
        self.context, self.postgres = context, PostgresCases(context)
        self.rows = 200_000 if context.quick else 1_000_000
        self.filled = False
        self.cases = {"jdbc-insert": self.insert, "jdbc-upsert": self.upsert, "jdbc-source": self.source}

    def psql(self, sql):
        return self.postgres.psql(sql)

    def fill(self):
        if not self.filled:
            json_topic(self.context.broker, self.rows)
            self.filled = True

    def timed(self, *command):
        began = time.perf_counter()
        subprocess.run(["psql", "-h", "127.0.0.1", "-p", "28932", "-U", "postgres", "-q", "-v", "ON_ERROR_STOP=1", *command], check=True,
                       stdout=subprocess.DEVNULL)
        return time.perf_counter() - began

    def empty(self, table):
        self.psql(f"drop table if exists {table}")
        self.psql(f"create table {table} ({COLUMNS})")

    def sink(self, kind, mode):
        config = {"connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector", "topics": "vs-json", "tasks.max": "1",
                  "connection.url": "jdbc:postgresql://127.0.0.1:28932/postgres", "connection.username": "postgres",
                  "connection.password": "x", "insert.mode": mode, "primary.key.mode": "record_value", "primary.key.fields": "id",
                  "schema.evolution": "none", "collection.name.format": TABLE, "batch.size": "5000",
                  "key.converter": "org.apache.kafka.connect.storage.StringConverter",
                  "value.converter": JSON, "value.converter.schemas.enable": "true"}
        last = f"select count(*) from {TABLE} where id = {self.rows} and city = 'Amsterdam'"
        worker = Worker(kind, self.context.env, self.context.binary, [self.postgres.server.env["AQ_DEBEZIUM"]])

        def written():
            time.sleep(0.05)
            return self.psql(last) == "1"
        row = worker.measured(self.context.name(), config, self.rows, 0, lambda: wait_for(written))
        there = int(self.psql(f"select count(*) from {TABLE} where city = 'Amsterdam'"))
        if there != self.rows:
            raise SystemExit(f"jdbc-{mode}: {there} of {self.rows} rows are in the table")
        return row

    def insert(self, kind):
        self.fill()
        self.empty(TABLE)
        row = self.sink(kind, "insert")
        dump = WORK / "jdbc.copy"
        dump.write_bytes(subprocess.run(["psql", "-h", "127.0.0.1", "-p", "28932", "-U", "postgres", "-qc",
                                         f"copy {TABLE} to stdout (format binary)"], check=True, capture_output=True).stdout)
        self.empty(BARE)
        seconds = self.timed("-c", f"\\copy {BARE} from '{dump}' (format binary)")
        row["of the server's COPY %"] = 100 * row["records/s"] * seconds / self.rows
        return row

    def halved(self, table):
        """A table with every second row, of other values."""
        self.empty(table)
        self.psql(f"insert into {table} (id, customer, city) select g, 0, 'before' from generate_series(2, {self.rows}, 2) g")
        self.psql(f"vacuum analyze {table}")

    def upsert(self, kind):
        self.fill()
        self.halved(TABLE)
        row = self.sink(kind, "upsert")
        script = WORK / f"jdbc-upsert-{self.rows}.sql"
        if not script.exists():
            say("writing the statements of a plain upsert")
            self.write_statements(script)
        self.halved(BARE)
        seconds = self.timed("-f", str(script))
        row["of INSERT … ON CONFLICT %"] = 100 * row["records/s"] * seconds / self.rows
        return row

    def write_statements(self, script):
        text = self.psql(f"select format('(%s,%s,%L,%s,%L,%L,%L,%L,%s,%L)', id, customer, email, amount, city, status, ssn, active, created, note) "
                         f"from {TABLE} order by id").split("\n")
        sets = ", ".join(f"{name} = excluded.{name}" for name in
                         ("customer", "email", "amount", "city", "status", "ssn", "active", "created", "note"))
        with open(script, "w") as file:
            for at in range(0, len(text), ROWS_PER_INSERT):
                file.write(f"insert into {BARE} values {','.join(text[at:at + ROWS_PER_INSERT])} on conflict (id) do update set {sets};\n")

    def source(self, kind):
        if kind == "jvm":
            raise SystemExit("jdbc-source: no JVM connector of the kind is on Maven Central; --only aqueduct measures ours")
        self.empty(TABLE)
        self.psql(f"insert into {TABLE} select g, g % 50000, 'user' || g || '@example.com', g * 0.37, 'Amsterdam', 'SHIPPED', "
                  f"lpad(g::text, 9, '0'), g % 2 = 0, 1700000000000 + g, md5(g::text) from generate_series(1, {self.rows}) g")
        topic = f"vs-{TABLE}"
        self.context.broker.fresh_topic(topic)
        config = {"connector.class": "io.confluent.connect.jdbc.JdbcSourceConnector", "tasks.max": "1", "mode": "bulk",
                  "connection.url": "jdbc:postgresql://127.0.0.1:28932/postgres", "connection.user": "postgres",
                  "connection.password": "x", "table.whitelist": TABLE, "topic.prefix": "vs-", "poll.interval.ms": "3600000",
                  "batch.max.rows": "5000", "key.converter": JSON, "value.converter": JSON, "value.converter.schemas.enable": "false"}
        worker = Worker(kind, self.context.env, self.context.binary)
        return worker.measured(self.context.name(), config, self.rows, 0, lambda: self.context.broker.wait_end(topic, self.rows))
