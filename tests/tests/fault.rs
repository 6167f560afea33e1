//! The file flow while the broker is killed and comes back: a file, a topic, a file, through the built binary.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use aqueduct_tests::{Aqueduct, OwnBroker, free_port, kcat, run, unique, wait_for};

const LINES: usize = 400_000;
const LIMIT: Duration = Duration::from_secs(120);

fn input() -> String {
    (0..LINES).fold(String::new(), |mut text, number| {
        let _ = writeln!(text, "{number:07} a line with {}", "some length ".repeat(number % 7));
        text
    })
}

/// Writes the three files of `aqueduct standalone`, as a user of the JVM's has them.
fn configure(folder: &Path, bootstrap: &str, port: u16, topic: &str) -> [String; 3] {
    let at = |name: &str| folder.join(name).display().to_string();
    let string = "org.apache.kafka.connect.storage.StringConverter";
    let (offsets, source_file, sink_file) = (at("offsets"), at("in.txt"), at("out.txt"));
    let files = [
        (
            at("worker.properties"),
            format!(
                "bootstrap.servers={bootstrap}\nlisteners=http://127.0.0.1:{port}\nkey.converter={string}\nvalue.converter={string}\n\
                 offset.storage.file.filename={offsets}\noffset.flush.interval.ms=500\nproducer.enable.idempotence=true\n\
                 producer.acks=all\n"
            ),
        ),
        (
            at("source.properties"),
            format!(
                "name={topic}-source\nconnector.class=FileStreamSource\ntasks.max=1\nfile={source_file}\ntopic={topic}\nbatch.size=500\n\
                 topic.creation.default.partitions=1\ntopic.creation.default.replication.factor=1\n"
            ),
        ),
        (
            at("sink.properties"),
            format!(
                "name={topic}-sink\nconnector.class=FileStreamSink\ntasks.max=1\nfile={sink_file}\ntopics={topic}\n"
            ),
        ),
    ];
    files.map(|(path, text)| {
        fs::write(&path, text).unwrap();
        path
    })
}

#[test]
fn broker_killed_twice_in_mid_flow_nothing_lost_nothing_twice_order_kept() {
    let (broker, folder, topic) = (OwnBroker::start(), tempfile::tempdir().unwrap(), unique("fault"));
    let path = |name: &str| folder.path().join(name);
    let (port, input) = (free_port(), input());
    let [worker, source, sink] = configure(folder.path(), &broker.bootstrap(), port, &topic);
    // the file grows while the broker comes and goes, so that there is always something under way
    let pieces: Vec<&str> = input.split_inclusive('\n').collect();
    let append = |from: usize, to: usize| {
        use std::io::Write as _;
        let mut file = fs::OpenOptions::new().append(true).create(true).open(path("in.txt")).unwrap();
        file.write_all(pieces[from..to].concat().as_bytes()).unwrap();
    };
    append(0, LINES / 4);
    let aqueduct = Aqueduct::start(&["standalone", &worker, &source, &sink], &path("log"));
    aqueduct.wait_for_port(port);

    let size = || fs::metadata(path("out.txt")).map_or(0, |file| file.len());
    for round in 1..3 {
        let before = size();
        wait_for(&format!("output in round {round}; log: {}", aqueduct.log()), LIMIT, || size() > before);
        append(round * LINES / 4, (round + 1) * LINES / 4);
        broker.kill();
        std::thread::sleep(Duration::from_secs(2));
        broker.restart();
    }
    append(3 * LINES / 4, LINES);
    wait_for("the end of the file", LIMIT, || size() >= input.len() as u64);
    let status = aqueduct.terminate();
    assert!(status.success() || status.code() == Some(143), "ended with {status}");
    let kafka =
        run(&mut kcat(&broker.bootstrap(), &["-C", "-q", "-e", "-o", "beginning", "-t", &topic]), b"");
    assert!(kafka == input, "the topic holds {} lines of {LINES}", kafka.lines().count());
    // a sink's offsets are committed after its writes: what it repeats are whole lines, and only those after a lost commit
    let output = fs::read_to_string(path("out.txt")).unwrap();
    assert!(output == input, "the file holds {} lines of {LINES}", output.lines().count());
}
