"""The servers that the cases run on: those of tests/services."""
import os, pathlib, re, socket, struct, subprocess, sys, time

ROOT = pathlib.Path(__file__).resolve().parents[3]
SERVICES = ROOT / "tests/services"
WORK = pathlib.Path(os.environ.get("AQUEDUCT_CACHE", pathlib.Path.home() / ".cache/aqueduct")) / "vs-jvm"


def say(text):
    print(f"vs-jvm: {text}", file=sys.stderr, flush=True)


def wait_for(condition, limit_s=1800):
    give_up = time.time() + limit_s
    while not condition():
        if time.time() > give_up:
            sys.exit("a case did not end in time")
        time.sleep(0.02)


class Service:
    """One of tests/services; it is brought up when first asked for, and down at the end."""

    running = []

    def __init__(self, name, **variables):
        self.script, self.variables = SERVICES / name, {**os.environ, **variables}
        subprocess.run([self.script, "up"], check=True, stdin=subprocess.DEVNULL, env=self.variables)
        Service.running.append(self)
        self.env = Service.of(name, self.variables)

    @staticmethod
    def of(name, variables=None):
        """The variables that say where a service is."""
        command = [SERVICES / name, "environment"]
        text = subprocess.run(command, check=True, capture_output=True, text=True, env=variables).stdout
        return dict(re.findall(r"export (\w+)='?([^'\n]*)'?", text))

    @staticmethod
    def all_down():
        for service in reversed(Service.running):
            subprocess.run([service.script, "down"], env=service.variables)


class Broker:
    """Topics and end offsets of the broker under test, by Kafka's own tools and one small request."""

    def __init__(self, env):
        self.address, self.jars = env["AQ_KAFKA"], env["AQ_KAFKA_JARS"]

    def tool(self, name, *arguments, **options):
        command = ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-Dlog4j2.level=error", "-cp", f"{self.jars}/*", name]
        return subprocess.run(command + list(arguments), check=True, stdout=subprocess.DEVNULL, **options)

    def fresh_topic(self, topic):
        tool = ("org.apache.kafka.tools.TopicCommand", "--bootstrap-server", self.address, "--topic", topic)
        self.tool(*tool, "--delete", "--if-exists")
        time.sleep(2)
        self.tool(*tool, "--create", "--if-not-exists", "--partitions", "1")

    def wait_end(self, topic, count, limit_s=1800):
        """Until partition 0 has `count` records: a ListOffsets request every 20 ms on one connection."""
        host, port = self.address.split(":")
        name = topic.encode()
        body = struct.pack(">hhih", 2, 1, 7, -1) + struct.pack(">ii", -1, 1) + struct.pack(">h", len(name)) + name
        body += struct.pack(">iiq", 1, 0, -1)
        give_up = time.time() + limit_s
        with socket.create_connection((host, int(port))) as connection:
            def read(count):
                data = b""
                while len(data) < count:
                    part = connection.recv(count - len(data))
                    if not part:
                        sys.exit("the broker hung up")
                    data += part
                return data
            while time.time() < give_up:
                connection.sendall(struct.pack(">i", len(body)) + body)
                answer = read(struct.unpack(">i", read(4))[0])
                error, _, offset = struct.unpack(">hqq", answer[-18:])
                if error == 0 and offset >= count:
                    return
                time.sleep(0.02)
        sys.exit(f"{topic} did not reach {count} records in {limit_s} s")
