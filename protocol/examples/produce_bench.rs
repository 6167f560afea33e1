//! Produces records of one size and prints what it cost.
//!
//! `produce_bench BOOTSTRAP TOPIC COUNT SIZE [key=value …]`, where `key=value` are the producer's settings.

use std::time::{Duration, Instant};

use aqueduct_protocol::client::Properties;
use aqueduct_protocol::client::producer::{AppendError, DeliveryTicket, Producer};

/// Records per session, as a source task's poll gives them.
const SESSION: usize = 2_000;
/// Tickets that may be open at once.
const MAX_TICKETS: usize = 200;

type Failure = Box<dyn std::error::Error>;

/// CPU seconds of this process, user and system, from `/proc/self/stat`.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    // utime and stime, in clock ticks of which Linux has 100 a second.
    (ticks(11) + ticks(12)) / 100.0
}

async fn produce(producer: &Producer, topic: &str, count: usize, value: &[u8]) -> Result<(), Failure> {
    let topic = producer.topic(topic).await?;
    let mut tickets = std::collections::VecDeque::<DeliveryTicket>::new();
    let mut left = count;
    while left > 0 {
        let mut session = producer.session();
        for _ in 0..left.min(SESSION) {
            loop {
                match session.append(&topic, None, None, None, Some(value), &[]) {
                    Ok(_) => break,
                    Err(AppendError::Full { .. }) => session.wait_capacity().await?,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        left -= session.len();
        tickets.push_back(session.finish());
        while tickets.len() > MAX_TICKETS || tickets.front().is_some_and(DeliveryTicket::is_done) {
            if let Some(ticket) = tickets.pop_front() {
                ticket.await?;
            }
        }
    }
    producer.flush().await;
    for ticket in tickets {
        ticket.await?;
    }
    Ok(())
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bootstrap, topic, count, size, settings @ ..] = arguments.as_slice() else {
        return Err("usage: produce_bench BOOTSTRAP TOPIC COUNT SIZE [key=value …]".into());
    };
    let (count, size): (usize, usize) = (count.parse()?, size.parse()?);
    let mut properties = Properties::new();
    properties.insert("bootstrap.servers".into(), bootstrap.clone());
    for setting in settings {
        let (key, value) = setting.split_once('=').ok_or("settings are key=value")?;
        properties.insert(key.into(), value.into());
    }
    let producer = Producer::new(&properties).await?;
    // Letters, so that compression has something to do.
    let value: Vec<u8> = (0..size).map(|_| fastrand::u8(b'a'..=b'z')).collect();
    producer.send(topic, None, None, None, Some(&value), &[]).await?;

    let (began, cpu) = (Instant::now(), cpu_seconds());
    produce(&producer, topic, count, &value).await?;
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let records = count as f64;
    println!(
        "{count} records of {size} bytes: {:.0} records/s, {:.1} MB/s, {:.3} CPU s per million records",
        records / seconds,
        records * size as f64 / seconds / 1e6,
        cpu / records * 1e6
    );
    producer.close(Duration::from_secs(10)).await?;
    Ok(())
}
