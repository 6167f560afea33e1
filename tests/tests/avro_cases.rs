//! What Confluent's AvroConverter answered on the JVM, vector by vector, against ours.
//!
//! `AQUEDUCT_AVRO_CASES` names another folder of vectors; the default are those of this repository. One file a vector:
//! `to-avro` has a Connect schema and payloads as JsonConverter writes them, `from-avro` an Avro schema and bytes.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aqueduct_engine::config::ConfigMap;
use aqueduct_engine::converter::{Converter, Encoded, avro_to_json, create};
use aqueduct_engine::data::{Batch, Record, RecordState, Side, Value, java_string};
use aqueduct_schema_registry::{Client, Config, Schema, SchemaType};
use aqueduct_tests::repository;
use bytes::Bytes;
use serde_json::{Value as Json, json};

const AVRO: &str = "io.confluent.connect.avro.AvroConverter";
const JSON: &str = "org.apache.kafka.connect.json.JsonConverter";

fn cases() -> PathBuf {
    std::env::var_os("AQUEDUCT_AVRO_CASES")
        .map_or_else(|| repository().join("tests/avro-cases"), PathBuf::from)
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "json") {
            found.push(path);
        }
    }
}

/// An empty registry and converters on it.
struct Bench {
    url: String,
    side: Side,
    avro: Box<dyn Converter>,
    json: Box<dyn Converter>,
    /// Avro straight to text.
    fused: Box<dyn Converter>,
}

impl Bench {
    fn new(config: &Json, is_key: bool) -> Result<Self, String> {
        static SCOPE: AtomicUsize = AtomicUsize::new(0);
        let url = format!("mock://avro-cases-{}", SCOPE.fetch_add(1, Ordering::Relaxed));
        let mut settings = ConfigMap::new();
        settings.insert("schema.registry.url".to_owned(), url.clone());
        for (key, value) in config.as_object().into_iter().flatten() {
            settings.insert(key.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
        let json_settings: ConfigMap = [("schemas.enable", "true"), ("replace.null.with.default", "false")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        // a generalized union is named anew by each converter: without the envelope its name does not show
        let mut fused_settings = json_settings.clone();
        fused_settings.insert("schemas.enable".to_owned(), "false".to_owned());
        Ok(Self {
            url,
            side: if is_key { Side::Key } else { Side::Value },
            avro: create(AVRO, &settings, is_key).map_err(|error| error.to_string())?,
            json: create(JSON, &json_settings, is_key).map_err(|error| error.to_string())?,
            fused: avro_to_json(&settings, &fused_settings, is_key).map_err(|error| error.to_string())?,
        })
    }

    fn registry(&self) -> Client {
        Client::new(Config { urls: vec![self.url.clone()], ..Config::default() }).unwrap()
    }

    /// A batch of one record with these bytes.
    fn batch(&self, bytes: Option<Vec<u8>>) -> Batch {
        let mut batch = Batch::default();
        let topic = batch.intern_topic("t");
        let raw = bytes.map(|bytes| {
            let len = bytes.len() as u32;
            let segment = batch.add_segment(Bytes::from(bytes));
            aqueduct_engine::data::Span { segment, offset: 0, len }
        });
        let mut record = Record { topic, ..Record::default() };
        match self.side {
            Side::Key => record.raw_key = raw,
            Side::Value => record.raw_value = raw,
        }
        batch.records.push(record);
        batch
    }

    fn error(batch: &Batch) -> Option<&'static str> {
        match batch.records[0].state {
            RecordState::Failed(error) => Some(batch.errors[error as usize].java_class),
            _ => None,
        }
    }

    fn encode(&mut self, batch: &mut Batch) -> Result<Option<Vec<u8>>, &'static str> {
        let mut out = Encoded::default();
        self.avro.encode(batch, self.side, &mut out);
        match Self::error(batch) {
            Some(class) => Err(class),
            None => Ok(out.get(batch, 0).map(<[u8]>::to_vec)),
        }
    }

    /// The record read from Avro: its batch, or the exception's class.
    fn decode(&mut self, bytes: Option<Vec<u8>>) -> Result<Batch, &'static str> {
        let mut batch = self.batch(bytes);
        self.avro.decode(&mut batch, self.side);
        Self::error(&batch).map_or(Ok(batch), Err)
    }

    fn json_of(&mut self, batch: &mut Batch) -> Option<Json> {
        let mut out = Encoded::default();
        self.json.encode(batch, self.side, &mut out);
        assert_eq!(Self::error(batch), None, "the JSON converter: {:?}", batch.errors);
        out.get(batch, 0).map(|bytes| serde_json::from_slice(bytes).unwrap())
    }
}

/// The short way from Avro to text gives what the way over rows gives: the same bytes, or the same failure.
fn same_text(bench: &mut Bench, wire: Option<Vec<u8>>) -> Verdict {
    let no_envelope: ConfigMap = [("schemas.enable", "false"), ("replace.null.with.default", "false")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    let mut json = create(JSON, &no_envelope, false).unwrap();
    let by_rows = bench.decode(wire.clone()).and_then(|mut batch| {
        let mut out = Encoded::default();
        json.encode(&mut batch, bench.side, &mut out);
        Bench::error(&batch).map_or_else(|| Ok(out.get(&batch, 0).map(<[u8]>::to_vec)), Err)
    });
    let mut batch = bench.batch(wire);
    bench.fused.decode(&mut batch, bench.side);
    let fused = Bench::error(&batch).map_or_else(
        || match batch.records[0].side(bench.side).1 {
            Value::String(span) => Ok(Some(batch.bytes(span).to_vec())),
            _ => Ok(None),
        },
        Err,
    );
    if fused == by_rows { Ok(()) } else { Err(format!("text: {fused:?} straight, {by_rows:?} over rows")) }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// Equal as JSON: members in any order, numbers by value.
fn same(one: &Json, other: &Json) -> bool {
    match (one, other) {
        (Json::Number(one), Json::Number(other)) => {
            one == other
                || (one.as_i64().is_none() || other.as_i64().is_none()) && one.as_f64() == other.as_f64()
        }
        (Json::Array(one), Json::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Json::Object(one), Json::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| same(value, other)))
        }
        (one, other) => one == other,
    }
}

/// Entries of maps with other keys than text are arrays, and in any order.
fn same_unordered(one: &Json, other: &Json) -> bool {
    match (one, other) {
        (Json::Array(one), Json::Array(other)) if one.len() == other.len() => {
            let mut rest: Vec<&Json> = other.iter().collect();
            one.iter().all(|one| {
                let found = rest.iter().position(|other| same_unordered(one, other));
                found.map(|found| rest.swap_remove(found)).is_some()
            })
        }
        (Json::Object(one), Json::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(name, value)| other.get(name).is_some_and(|other| same_unordered(value, other)))
        }
        (one, other) => same(one, other),
    }
}

type Verdict = Result<(), String>;

fn same_envelope(ours: Option<&Json>, expected: &Json) -> Verdict {
    let expected: Option<Json> = expected.as_str().map(|text| serde_json::from_str(text).unwrap());
    let equal = match (ours, &expected) {
        (None, None) => true,
        (Some(ours), Some(expected)) => {
            same(&ours["schema"], &expected["schema"])
                && same_unordered(&ours["payload"], &expected["payload"])
        }
        _ => false,
    };
    let text = |json: Option<&Json>| json.map_or_else(|| "null".to_owned(), Json::to_string);
    if equal {
        Ok(())
    } else {
        Err(format!("\n    ours     {}\n    expected {}", text(ours), text(expected.as_ref())))
    }
}

async fn same_schema(bench: &Bench, id: i32, expected: &Json) -> Verdict {
    let schema = bench.registry().schema_by_id(id, "").await.map_err(|error| error.to_string())?;
    let ours: Json = serde_json::from_str(&schema.text).unwrap();
    let expected: Json = serde_json::from_str(expected.as_str().unwrap()).unwrap();
    if same(&ours, &expected) {
        return Ok(());
    }
    Err(format!("schema\n    ours     {ours}\n    expected {expected}"))
}

/// Equal bytes; or, since entries of maps come in any order, bytes that read the same.
fn same_wire(bench: &mut Bench, ours: &[u8], expected: &str) -> Verdict {
    let wanted = unhex(expected);
    let different = || Err(format!("wire\n    ours     {}\n    expected {expected}", hex(ours)));
    if ours == wanted {
        return Ok(());
    }
    if ours.len() != wanted.len() || ours[..5] != wanted[..5] {
        return different();
    }
    let mut json =
        |bytes: Vec<u8>| bench.decode(Some(bytes)).ok().and_then(|mut batch| bench.json_of(&mut batch));
    match (json(ours.to_vec()), json(wanted)) {
        (Some(ours), Some(expected)) if same_unordered(&ours, &expected) => Ok(()),
        _ => different(),
    }
}

fn same_error(ours: &str, expected: &Json) -> Verdict {
    let simple = |class: &str| class.rsplit('.').next().unwrap_or_default().to_owned();
    let class = expected["class"].as_str().unwrap_or("no error");
    if simple(ours) == simple(class) {
        Ok(())
    } else {
        Err(format!("fails with {ours}, the JVM with {class}"))
    }
}

/// What was written: bytes and schema, or an error.
async fn written(
    bench: &mut Bench,
    encoded: Result<Option<Vec<u8>>, &'static str>,
    expected: &Json,
) -> Verdict {
    match (encoded, expected["wire"].as_str(), &expected["error"]) {
        (Err(class), None, error) if !error.is_null() => same_error(class, error),
        (Err(class), ..) => Err(format!("cannot be written: {class}; expected {expected}")),
        (Ok(bytes), None, Json::Null) => match bytes {
            None => Ok(()),
            Some(bytes) => Err(format!("is {}, expected nothing", hex(&bytes))),
        },
        (Ok(_), None, error) => Err(format!("is written, the JVM fails with {}", error["class"])),
        (Ok(None), Some(wire), _) => Err(format!("is nothing, expected {wire}")),
        (Ok(Some(bytes)), Some(wire), _) => {
            let id = i32::from_be_bytes(bytes[1..5].try_into().unwrap());
            same_schema(bench, id, &expected["avroSchema"]).await?;
            same_wire(bench, &bytes, wire)
        }
    }
}

async fn to_avro(case: &Json) -> Result<Vec<Verdict>, String> {
    let mut bench = Bench::new(&case["config"], case["isKey"] == true)?;
    let mut verdicts = Vec::new();
    for (payload, expected) in
        case["payloads"].as_array().unwrap().iter().zip(case["expected"].as_array().unwrap())
    {
        let envelope = format!(
            "{{\"schema\":{},\"payload\":{}}}",
            case["schema"].as_str().unwrap_or("null"),
            payload.as_str().unwrap()
        );
        let mut batch = bench.batch(Some(envelope.into_bytes()));
        bench.json.decode(&mut batch, bench.side);
        if let Some(class) = Bench::error(&batch) {
            verdicts.push(Err(format!("the JSON converter does not read it: {class}")));
            continue;
        }
        let encoded = bench.encode(&mut batch);
        let wire = encoded.as_ref().ok().cloned().flatten();
        let mut verdict = written(&mut bench, encoded, expected).await;
        if let (Ok(()), Some(subject), Some(_)) = (&verdict, expected["subject"].as_str(), &wire)
            && let subjects = bench.registry().subjects(false).await.unwrap()
            && !subjects.iter().any(|known| known == subject)
        {
            verdict = Err(format!("subjects are {subjects:?}, expected {subject}"));
        }
        if let (Ok(()), Some(wire)) = (&verdict, wire) {
            verdict = match (bench.decode(Some(wire)), &expected["backError"]) {
                (Ok(mut batch), Json::Null) => {
                    let back = bench.json_of(&mut batch);
                    same_envelope(back.as_ref(), &expected["back"]).map_err(|why| format!("back: {why}"))
                }
                (Ok(_), error) => Err(format!("is read back, the JVM fails with {}", error["class"])),
                (Err(class), Json::Null) => Err(format!("cannot be read back: {class}")),
                (Err(class), error) => same_error(class, error),
            };
        }
        verdicts.push(verdict);
    }
    Ok(verdicts)
}

async fn from_avro(case: &Json) -> Result<Vec<Verdict>, String> {
    let is_key = case["isKey"] == true;
    let mut bench = Bench::new(&case["config"], is_key)?;
    let text = match &case["avroSchema"] {
        Json::String(text) if serde_json::from_str::<Json>(text).is_ok() => text.clone(),
        other => other.to_string(),
    };
    let schema = Arc::new(Schema::new(SchemaType::Avro, text));
    let subject = if is_key { "t-key" } else { "t-value" };
    bench.registry().register(subject, &schema, false).await.map_err(|error| error.to_string())?;
    let mut verdicts = Vec::new();
    for expected in case["expected"].as_array().unwrap() {
        verdicts.push(one_from_avro(&mut bench, case, expected).await);
    }
    Ok(verdicts)
}

async fn one_from_avro(bench: &mut Bench, case: &Json, expected: &Json) -> Verdict {
    let wire = expected["wire"].as_str().map(unhex);
    same_text(bench, wire.clone())?;
    let mut batch = match (bench.decode(wire), &expected["error"]) {
        (Ok(batch), Json::Null) => batch,
        (Ok(_), error) => return Err(format!("is read, the JVM fails with {}", error["class"])),
        (Err(class), Json::Null) => return Err(format!("cannot be read: {class}")),
        (Err(class), error) => return same_error(class, error),
    };
    let record = &batch.records[0];
    let (schema, value) = record.side(bench.side);
    if let Some(java) = expected["java"].as_str() {
        let mut ours = Vec::new();
        java_string(&batch, schema, value, &mut ours);
        let ours = String::from_utf8_lossy(&ours).into_owned();
        // byte arrays print their address, and entries of maps come in any order
        let arbitrary = java.contains("[B@") || java.contains("HeapByteBuffer") || java.contains(", ");
        if !arbitrary && ours != java {
            return Err(format!("prints as {ours}, expected {java}"));
        }
    }
    if expected["jsonError"].is_null() {
        let ours = if value.is_null() && schema == 0 { None } else { bench.json_of(&mut batch) };
        same_envelope(ours.as_ref(), &expected["connect"]).map_err(|why| format!("connect: {why}"))?;
    }
    if expected["again"].is_null() {
        return Ok(());
    }
    let mut again = Bench::new(&case["config"], case["isKey"] == true)?;
    let encoded = again.encode(&mut batch);
    written(&mut again, encoded, &expected["again"]).await.map_err(|why| format!("again: {why}"))
}

#[test]
fn every_vector_agrees_with_the_jvm() {
    let folder = cases();
    let mut paths = Vec::new();
    files(&folder, &mut paths);
    assert!(!paths.is_empty(), "{}: there are no vectors", folder.display());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (mut values, mut wrong) = (0, Vec::new());
    for path in &paths {
        let case: Json = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let name = path.strip_prefix(&folder).unwrap().display();
        let verdicts = runtime.block_on(async {
            if case["kind"] == json!("to-avro") { to_avro(&case).await } else { from_avro(&case).await }
        });
        match verdicts {
            Err(why) => wrong.push(format!("{name}: {why}")),
            Ok(verdicts) => {
                values += verdicts.len();
                let failed =
                    verdicts.into_iter().enumerate().filter_map(|(at, verdict)| Some((at, verdict.err()?)));
                wrong.extend(failed.map(|(at, why)| format!("{name}, value {at}: {why}")));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {values} values in {} vectors differ:\n{}",
        wrong.len(),
        paths.len(),
        wrong.join("\n")
    );
    println!("{values} values in {} vectors agree", paths.len());
}
