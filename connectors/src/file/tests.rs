//! The tasks themselves, on real files, with offsets in memory.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use aqueduct_engine::connector::{
    BoxFuture, ConfigMap, ConnectError, OffsetMap, OffsetReader, Positions, SinkTask, SinkTaskContext,
    SourceTask, SourceTaskContext, StopSignal,
};
use aqueduct_engine::data::{Batch, Record, RecordState, Value};
use tokio::sync::watch;

use super::sink::FileStreamSinkTask;
use super::source::FileStreamSourceTask;

struct Committed(Option<OffsetMap>);

impl OffsetReader for Committed {
    fn offset<'a>(&'a self, _: &'a OffsetMap) -> BoxFuture<'a, Result<Option<OffsetMap>, ConnectError>> {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }
}

fn config(entries: &[(&str, &str)]) -> ConfigMap {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

struct Source {
    task: FileStreamSourceTask,
    batch: Batch,
    _stop: watch::Sender<bool>,
}

impl Source {
    async fn start(path: &Path, position: Option<u64>, extra: &[(&str, &str)]) -> Source {
        let offset =
            position.map(|position| [("position".to_owned(), position.into())].into_iter().collect());
        let (sender, stop) = StopSignal::new();
        let context = SourceTaskContext {
            connector: Arc::from("c"),
            task: 0,
            offsets: Arc::new(Committed(offset)),
            stop,
            transactions: None,
        };
        let mut settings = config(&[("file", path.to_str().unwrap()), ("topic", "t")]);
        settings.extend(config(extra));
        let mut task = FileStreamSourceTask::default();
        task.start(&settings, context).await.unwrap();
        Source { task, batch: Batch::default(), _stop: sender }
    }

    /// Lines of one poll, and the position after them.
    async fn poll(&mut self) -> (Vec<String>, Option<u64>) {
        self.batch.clear();
        self.task.poll(&mut self.batch).await.unwrap();
        let text = |record: &Record| match record.value {
            Value::String(span) => self.batch.str(span).to_owned(),
            other => panic!("{other:?}"),
        };
        let position = self.batch.positions.last().and_then(|position| position.offset["position"].as_u64());
        (self.batch.records.iter().map(text).collect(), position)
    }
}

fn append(path: &Path, bytes: &[u8]) {
    fs::OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(bytes).unwrap();
}

#[tokio::test(start_paused = true)]
async fn positions_are_bytes_and_a_restart_goes_on_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in");
    let mut source = Source::start(&path, None, &[("batch.size", "2")]).await;
    assert_eq!(source.poll().await, (vec![], None), "the file is not there yet");
    append(&path, "größe\r\nb\nc\nhalf".as_bytes());
    assert_eq!(source.poll().await, (vec!["größe".to_owned(), "b".to_owned()], Some(11)));
    assert_eq!(source.poll().await, (vec!["c".to_owned()], Some(13)));
    assert_eq!(source.poll().await, (vec![], None), "half a line is kept back");
    append(&path, b" a line\n");
    assert_eq!(source.poll().await, (vec!["half a line".to_owned()], Some(25)));
    let record = source.batch.records[0];
    assert_eq!((record.key, record.key_schema, record.partition), (Value::Null, 0, -1));
    assert!(record.timestamp > 0 && !source.batch.schema(record.value_schema).unwrap().optional);
    let mut again = Source::start(&path, Some(11), &[]).await;
    assert_eq!(again.poll().await.0, ["c", "half a line"]);
}

#[tokio::test(start_paused = true)]
async fn a_truncated_and_a_replaced_file_are_read_from_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in");
    append(&path, b"one\ntwo\n");
    let mut source = Source::start(&path, None, &[]).await;
    assert_eq!(source.poll().await.0, ["one", "two"]);
    fs::write(&path, "x\n").unwrap();
    assert_eq!(source.poll().await, (vec!["x".to_owned()], Some(2)));
    append(&folder.path().join("new"), b"a new file, longer than before\n");
    fs::rename(folder.path().join("new"), &path).unwrap();
    assert_eq!(source.poll().await, (vec!["a new file, longer than before".to_owned()], Some(31)));
    let mut shorter = Source::start(&path, Some(1000), &[]).await;
    assert_eq!(shorter.poll().await.1, Some(31));
}

#[tokio::test(start_paused = true)]
async fn malformed_text_is_replaced_and_the_neighbours_are_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in");
    append(&path, b"good\nb\xffad \xe2\x82\nfine\n");
    let mut source = Source::start(&path, None, &[]).await;
    assert_eq!(
        source.poll().await,
        (vec!["good".to_owned(), "b\u{fffd}ad \u{fffd}".to_owned(), "fine".to_owned()], Some(18))
    );
}

#[tokio::test(start_paused = true)]
async fn a_line_beyond_the_bound_fails_and_names_key_and_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in");
    append(&path, b"ok\n0123456789");
    let mut source = Source::start(&path, None, &[("max.line.bytes", "9")]).await;
    assert_eq!(source.poll().await.0, ["ok"]);
    source.batch.clear();
    let error = source.task.poll(&mut source.batch).await.unwrap_err().to_string();
    assert!(error.contains("max.line.bytes=9") && error.contains("byte 3"), "{error}");
}

#[tokio::test]
async fn chunks_of_the_file_are_not_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in");
    let lines: Vec<String> =
        (0..50_000).map(|number| format!("{number} {}", "y".repeat(number % 60))).collect();
    append(&path, (lines.join("\n") + "\n").as_bytes());
    let mut source = Source::start(&path, None, &[]).await;
    let mut seen = Vec::new();
    while seen.len() < lines.len() {
        let (more, _) = source.poll().await;
        assert!(more.len() <= 2000);
        seen.extend(more);
    }
    assert_eq!(seen, lines);
}

async fn sink(path: &Path) -> (FileStreamSinkTask, watch::Sender<bool>) {
    let (sender, stop) = StopSignal::new();
    let mut task = FileStreamSinkTask::default();
    let context =
        SinkTaskContext { connector: Arc::from("c"), task: 0, stop, positions: Positions::default() };
    task.start(&config(&[("file", path.to_str().unwrap())]), context).await.unwrap();
    (task, sender)
}

fn rows(rows: &[&str]) -> Arc<Batch> {
    let mut batch = Batch::default();
    for row in rows {
        let value = Value::String(batch.put_str(row));
        batch.records.push(Record { value, ..Record::default() });
    }
    batch.records.push(Record { state: RecordState::Dropped, ..Record::default() });
    Arc::new(batch)
}

#[tokio::test]
async fn rows_are_lines_after_a_flush_and_appended_to_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    fs::write(&path, "left by a crash").unwrap();
    let (mut task, _stop) = sink(&path).await;
    task.put(rows(&["a", "b"])).await.unwrap().await.unwrap();
    task.flush().await.unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "left by a crash\na\nb\n");
    let mut numbers = Batch::default();
    numbers.records.push(Record { value: Value::Int32(7), ..Record::default() });
    numbers.records.push(Record::default());
    task.put(Arc::new(numbers)).await.unwrap().await.unwrap();
    task.flush().await.unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "left by a crash\na\nb\n7\nnull\n");
}

#[tokio::test]
async fn a_full_disk_is_an_error_to_retry_and_nothing_more_is_accepted() {
    let (mut task, _stop) = sink(Path::new("/dev/full")).await;
    task.put(rows(&["a"])).await.unwrap().await.unwrap();
    let error = task.flush().await.unwrap_err();
    assert!(error.is_retriable() && error.to_string().contains("/dev/full: no space left"), "{error}");
    let large = "x".repeat(300_000);
    task.put(rows(&[&large])).await.unwrap().await.unwrap();
    assert!(task.put(rows(&["b"])).await.is_err(), "the buffer is bounded");
}

#[tokio::test]
async fn a_sink_that_cannot_make_its_file_says_so() {
    let (_sender, stop) = StopSignal::new();
    let mut task = FileStreamSinkTask::default();
    let context =
        SinkTaskContext { connector: Arc::from("c"), task: 0, stop, positions: Positions::default() };
    let error = task.start(&config(&[("file", "/nope/out")]), context).await.unwrap_err();
    assert_eq!(error.to_string(), "Couldn't find or create file '/nope/out' for FileStreamSinkTask");
}
