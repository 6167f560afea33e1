//! Reads records of a topic's first partition, from its start, and prints what it cost.
//!
//! `consume_bench BOOTSTRAP TOPIC COUNT [key=value …]`, where `key=value` are the consumer's settings.

use std::time::{Duration, Instant};

use aqueduct_protocol::client::Properties;
use aqueduct_protocol::client::consumer::{Consumer, NoListener};
use aqueduct_protocol::wire::TopicPartition;

/// Longest time without a record.
const PATIENCE: Duration = Duration::from_secs(30);

type Failure = Box<dyn std::error::Error>;

/// CPU seconds of this process, user and system, from `/proc/self/stat`.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    // utime and stime, in clock ticks of which Linux has 100 a second.
    (ticks(11) + ticks(12)) / 100.0
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bootstrap, topic, count, settings @ ..] = arguments.as_slice() else {
        return Err("usage: consume_bench BOOTSTRAP TOPIC COUNT [key=value …]".into());
    };
    let count: usize = count.parse()?;
    let mut properties = Properties::new();
    properties.insert("bootstrap.servers".into(), bootstrap.clone());
    properties.insert("auto.offset.reset".into(), "earliest".into());
    for setting in settings {
        let (key, value) = setting.split_once('=').ok_or("settings are key=value")?;
        properties.insert(key.into(), value.into());
    }
    let (began, cpu) = (Instant::now(), cpu_seconds());
    let mut consumer = Consumer::new(&properties).await?;
    // -1: where auto.offset.reset says
    consumer.assign(&[(TopicPartition { topic: topic.as_str().into(), partition: 0 }, -1)]);
    let (mut records, mut bytes) = (0_usize, 0_usize);
    while records < count {
        let batches = consumer.poll(PATIENCE, &mut NoListener).await?;
        if batches.is_empty() {
            return Err(format!("{records} records of {count}, and none for {PATIENCE:?}").into());
        }
        for batch in &batches {
            records += batch.records.len();
            // every value is looked at, as a reader would
            bytes += batch.records.iter().filter_map(|record| record.value()).map(<[u8]>::len).sum::<usize>();
        }
    }
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let read = records as f64;
    println!(
        "{records} records: {:.0} records/s, {:.1} MB/s, {:.3} CPU s per million records",
        read / seconds,
        bytes as f64 / seconds / 1e6,
        cpu / read * 1e6
    );
    Ok(())
}
