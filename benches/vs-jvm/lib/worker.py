"""A standalone worker under test, JVM or ours, and what a case costs it."""
import atexit, json, os, pathlib, re, shutil, signal, socket, subprocess, sys, time, urllib.request

from .servers import WORK

REST_PORT = 28983
REST = f"http://127.0.0.1:{REST_PORT}"
TUNING = """producer.batch.size=262144
producer.linger.ms=5
producer.buffer.memory=67108864
consumer.max.poll.records=5000
consumer.fetch.min.bytes=65536
consumer.max.partition.fetch.bytes=4194304
"""
JVM_FLAGS = ("-Xms256M -Xmx2G -server -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:InitiatingHeapOccupancyPercent=35 "
             "-XX:+ExplicitGCInvokesConcurrent -Djava.awt.headless=true -Dlog4j2.level=warn").split()
STRING = "org.apache.kafka.connect.storage.StringConverter"
JSON = "org.apache.kafka.connect.json.JsonConverter"
TICKS = os.sysconf("SC_CLK_TCK")


class Worker:
    """A standalone worker, JVM or ours."""

    def __init__(self, kind, env, binary, plugins=()):
        self.kind = kind
        self.dir = WORK / kind
        shutil.rmtree(self.dir, ignore_errors=True)
        self.dir.mkdir(parents=True)
        properties = self.dir / "worker.properties"
        properties.write_text(
            f"bootstrap.servers={env['AQ_KAFKA']}\nkey.converter={JSON}\nvalue.converter={JSON}\n"
            f"listeners={REST}\noffset.storage.file.filename={self.dir}/offsets\n"
            f"plugin.path={','.join([env['AQ_CONNECT_PLUGINS'], *plugins])}\nplugin.discovery=service_load\n{TUNING}")
        # Both take a worker file alone: connectors come by REST.
        if kind == "jvm":
            command = ["java", *JVM_FLAGS, "-cp", f"{env['AQ_KAFKA_JARS']}/*",
                       "org.apache.kafka.connect.cli.ConnectStandalone", str(properties)]
        else:
            command = [binary, "standalone", str(properties)]
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", REST_PORT)) == 0:
                sys.exit(f"port {REST_PORT} is taken: a worker of a run that broke off?")
        started = time.perf_counter()
        log = open(self.dir / "log", "wb")
        self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        atexit.register(self.process.kill)
        while True:
            try:
                with urllib.request.urlopen(f"{REST}/connectors", timeout=5) as answer:
                    answer.read()
                    break
            except OSError:
                if self.process.poll() is not None:
                    sys.exit(f"the {kind} worker ended: see {self.dir}/log")
                time.sleep(0.002)
        self.start_s = time.perf_counter() - started

    def cpu(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self, key):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{key}:\s+(\d+)", status)[1]) / 1024

    def connector(self, name, config):
        request = urllib.request.Request(f"{REST}/connectors/{name}/config", method="PUT",
                                         data=json.dumps(config).encode(), headers={"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=90).read()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def measured(self, name, config, records, size, until):
        """Runs a connector from its creation until `until` comes back; costs per record. Ends the worker."""
        time.sleep(1)
        cpu, clock = self.cpu(), time.perf_counter()
        self.connector(name, config)
        until()
        seconds, cpu = time.perf_counter() - clock, self.cpu() - cpu
        peak = self.memory("VmHWM")
        self.stop()
        row = {"records/s": records / seconds, "MB/s": size / seconds / 1e6, "CPU s per million": cpu / records * 1e6, "peak MiB": peak}
        return {key: value for key, value in row.items() if size or key != "MB/s"}
