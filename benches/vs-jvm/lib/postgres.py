"""Cases of PostgreSQL: a snapshot and a backlog of changes to JSON, beside Debezium on the same table."""
import glob, subprocess, time

from .servers import Service, say
from .worker import JSON, Worker

COLUMNS = ("id bigint primary key, customer int not null, email text, amount double precision, city text, status text, "
           "ssn text, active boolean, created timestamptz, note text")
ROW = ("select g, g % 50000, 'user' || g || '@example.com', g * 0.37, 'Amsterdam', 'SHIPPED', lpad(g::text, 9, '0'), "
       "g % 2 = 0, to_timestamp(1700000000 + g / 1000.0), md5(g::text)")
TUNING = {"max.batch.size": "20480", "max.queue.size": "81920", "snapshot.fetch.size": "10240", "poll.interval.ms": "10"}
RECEIVER = next(iter(sorted(glob.glob("/usr/lib/postgresql/*/bin/pg_recvlogical"))), "pg_recvlogical")
TABLE, TOPIC = "vs_orders", "vs.public.vs_orders"


class PostgresCases:
    """`pg-snapshot`: a table of ten columns. `pg-stream`: rows inserted, 1,000 a transaction, in the WAL before the clock
    starts. `pg-transaction`: the same in one transaction. Beside them what the server alone gives: COPY in binary, and
    pg_recvlogical, to nowhere."""

    def __init__(self, context):
        self.context, self.server = context, None
        self.rows = 500_000 if context.quick else 5_000_000
        self.filled = 0
        self.cases = {"pg-snapshot": self.snapshot, "pg-stream": self.stream, "pg-transaction": self.transaction}

    def psql(self, sql):
        if self.server is None:
            self.server = Service("postgres", AQ_PG_PORT="28932")
        command = ["psql", "-h", "127.0.0.1", "-p", "28932", "-U", "postgres", "-tAq", "-v", "ON_ERROR_STOP=1", "-c", sql]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def config(self, slot, mode):
        return {"connector.class": "io.debezium.connector.postgresql.PostgresConnector", "database.hostname": "127.0.0.1",
                "database.port": "28932", "database.user": "postgres", "database.password": "x", "database.dbname": "postgres",
                "topic.prefix": "vs", "plugin.name": "pgoutput", "slot.name": slot, "publication.name": slot,
                "publication.autocreate.mode": "filtered", "table.include.list": f"public.{TABLE}", "snapshot.mode": mode,
                "key.converter": JSON, "value.converter": JSON, "key.converter.schemas.enable": "false",
                "value.converter.schemas.enable": "false", **TUNING}

    def run(self, kind, slot, mode):
        self.context.broker.fresh_topic(TOPIC)
        worker = Worker(kind, self.context.env, self.context.binary, [self.server.env["AQ_DEBEZIUM"]])
        return worker.measured(self.context.name(), self.config(slot, mode), self.rows, 0,
                               lambda: self.context.broker.wait_end(TOPIC, self.rows))

    def drop(self, slot):
        self.psql(f"select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = '{slot}' and not active")
        self.psql(f"drop publication if exists {slot}")

    def snapshot(self, kind):
        slot = f"vs_snapshot_{kind}"
        if self.filled != self.rows:
            say(f"filling a table with {self.rows} rows")
            self.psql(f"drop table if exists {TABLE}")
            self.psql(f"create table {TABLE} ({COLUMNS})")
            self.psql(f"insert into {TABLE} {ROW} from generate_series(1, {self.rows}) g")
            self.psql(f"vacuum analyze {TABLE}")
            self.filled = self.rows
        self.drop(slot)
        row = self.run(kind, slot, "initial")
        began = time.perf_counter()
        self.psql(f"copy {TABLE} to program 'cat >/dev/null' (format binary)")
        row["of the server's COPY %"] = 100 * row["records/s"] * (time.perf_counter() - began) / self.rows
        return row

    def stream(self, kind):
        return self.backlog(kind, 1000)

    def transaction(self, kind):
        return self.backlog(kind, self.rows)

    def backlog(self, kind, per_transaction):
        """Changes that are in the WAL already."""
        slot, bare = f"vs_stream_{kind}", "vs_stream_bare"
        self.drop(slot)
        self.drop(bare)
        self.filled = 0
        self.psql(f"drop table if exists {TABLE}")
        self.psql(f"create table {TABLE} ({COLUMNS})")
        self.psql(f"create publication {slot} for table {TABLE}")
        for name in (slot, bare):
            self.psql(f"select pg_create_logical_replication_slot('{name}', 'pgoutput')")
        self.psql(f"create or replace procedure vs_fill() language plpgsql as $$ begin for b in 0..{self.rows // per_transaction - 1} "
                  f"loop insert into {TABLE} {ROW} from generate_series(b * {per_transaction} + 1, (b + 1) * {per_transaction}) g; "
                  "commit; end loop; end $$")
        self.psql("call vs_fill()")
        end = self.psql("select pg_current_wal_lsn()")
        row = self.run(kind, slot, "no_data")
        began = time.perf_counter()
        subprocess.run([RECEIVER, "-h", "127.0.0.1", "-p", "28932", "-U", "postgres", "-d", "postgres", "-S", bare, "--start",
                        "-o", "proto_version=2", "-o", f"publication_names={slot}", "-o", "binary=true", "-o", "streaming=true",
                        "--endpos", end, "-f", "/dev/null"], check=True)
        row["of the walsender %"] = 100 * row["records/s"] * (time.perf_counter() - began) / self.rows
        return row
