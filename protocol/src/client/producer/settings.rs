//! The producer's settings under Kafka's own names, with Kafka's defaults and rules.

use std::time::Duration;

use crate::client::config::{Values, invalid};
use crate::wire::compression::{Compression, CompressionLevel};
use crate::{Error, ErrorKind, Result};

/// Most batches on their way to one broker with which the broker can keep an idempotent producer's order.
const MAX_IN_FLIGHT_IDEMPOTENT: usize = 5;

/// The producer's part of its properties.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// `acks`: -1 for all, 0 or 1.
    pub(super) acks: i16,
    pub(super) batch_size: usize,
    pub(super) linger: Duration,
    pub(super) buffer_memory: usize,
    pub(super) max_block: Duration,
    pub(super) max_request_size: usize,
    pub(super) metadata_max_idle: Duration,
    pub(super) compression: Compression,
    pub(super) level: CompressionLevel,
    pub(super) max_in_flight: usize,
    pub(super) retries: u32,
    pub(super) delivery_timeout: Duration,
    pub(super) idempotence: bool,
    pub(super) ignore_keys: bool,
    /// `partitioner.class` is `RoundRobinPartitioner`: partitions in turn, whatever the key.
    pub(super) round_robin: bool,
    /// `partitioner.availability.timeout.ms`; none where that is 0.
    pub(super) availability_timeout: Option<Duration>,
    pub(super) adaptive: bool,
    pub(super) transactional_id: Option<String>,
    pub(super) transaction_timeout_ms: i32,
}

impl Settings {
    pub(super) fn read(values: &Values<'_>, request_timeout: Duration) -> Result<Self> {
        let compression = compression(values)?;
        let linger = values.millis("linger.ms")?;
        let partitioner = Partitioner::read(values)?;
        let availability_timeout = values.millis("partitioner.availability.timeout.ms")?;
        let mut settings = Self {
            acks: match values.text("acks") {
                Some("0") => 0,
                Some("1") => 1,
                _ => -1,
            },
            batch_size: (values.number("batch.size")? as usize).max(1),
            linger,
            buffer_memory: values.number("buffer.memory")? as usize,
            max_block: values.millis("max.block.ms")?,
            max_request_size: values.number("max.request.size")? as usize,
            metadata_max_idle: values.millis("metadata.max.idle.ms")?,
            compression,
            level: level(values, compression)?,
            max_in_flight: values.number("max.in.flight.requests.per.connection")? as usize,
            retries: values.number("retries")? as u32,
            delivery_timeout: delivery_timeout(values, linger, request_timeout)?,
            idempotence: true,
            ignore_keys: partitioner == Partitioner::Sticky || values.boolean("partitioner.ignore.keys")?,
            round_robin: partitioner == Partitioner::RoundRobin,
            availability_timeout: Some(availability_timeout).filter(|timeout| !timeout.is_zero()),
            adaptive: values.boolean("partitioner.adaptive.partitioning.enable")?,
            transactional_id: values.text("transactional.id").map(str::to_owned),
            transaction_timeout_ms: values.number("transaction.timeout.ms")? as i32,
        };
        settings.idempotence = settings.decide_idempotence(values)?;
        Ok(settings)
    }

    /// Idempotence is on unless it is switched off or a setting that nobody combined with it on purpose excludes it.
    fn decide_idempotence(&self, values: &Values<'_>) -> Result<bool> {
        const KEY: &str = "enable.idempotence";
        let wanted = values.boolean(KEY)?;
        let explicit = values.given(KEY).is_some();
        let in_flight = format!("be at most {MAX_IN_FLIGHT_IDEMPOTENT}");
        let conflicts = [
            (self.acks != -1, "acks", "be all".to_owned()),
            (self.retries == 0, "retries", "be greater than 0".to_owned()),
            (
                self.max_in_flight > MAX_IN_FLIGHT_IDEMPOTENT,
                "max.in.flight.requests.per.connection",
                in_flight,
            ),
        ];
        let conflict = conflicts.into_iter().find(|(conflicts, ..)| *conflicts);
        if self.transactional_id.is_some() && !wanted {
            let message =
                format!("Cannot set transactional.id with {KEY}=false: a transaction needs idempotence");
            return Err(Error::new(ErrorKind::Config, message));
        }
        match conflict {
            Some((_, key, rule)) if wanted && (explicit || self.transactional_id.is_some()) => {
                let message = format!(
                    "Must set {key} to {rule} in order to use the idempotent producer; change {key} or set {KEY}=false without transactional.id"
                );
                Err(Error::new(ErrorKind::Config, message))
            }
            Some((_, key, _)) if wanted => {
                tracing::info!("idempotence is off because of the value of {key}");
                Ok(false)
            }
            _ => Ok(wanted),
        }
    }
}

/// `partitioner.class`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Partitioner {
    /// By key, or sticky without one.
    Default,
    /// Sticky, whatever the key.
    Sticky,
    /// In turn, whatever the key.
    RoundRobin,
}

impl Partitioner {
    /// The classes that Kafka has, or had before 4.0.
    fn read(values: &Values<'_>) -> Result<Self> {
        const KEY: &str = "partitioner.class";
        let Some(class) = values.text(KEY) else { return Ok(Self::Default) };
        let internal = class.strip_prefix("org.apache.kafka.clients.producer.");
        match internal.map(|name| name.strip_prefix("internals.").unwrap_or(name)).unwrap_or(class) {
            "RoundRobinPartitioner" => Ok(Self::RoundRobin),
            "UniformStickyPartitioner" => Ok(Self::Sticky),
            "DefaultPartitioner" => Ok(Self::Default),
            _ => {
                let allowed = "RoundRobinPartitioner, UniformStickyPartitioner or DefaultPartitioner of Kafka, \
                               or not set: other partitioners are Java classes";
                Err(invalid(KEY, class, allowed))
            }
        }
    }
}

fn compression(values: &Values<'_>) -> Result<Compression> {
    const KEY: &str = "compression.type";
    let text = values.text(KEY).unwrap_or("none");
    Compression::from_name(text).ok_or_else(|| invalid(KEY, text, "none, gzip, snappy, lz4 or zstd"))
}

/// The level of the codec, where one is given: each has its own default.
fn level(values: &Values<'_>, compression: Compression) -> Result<CompressionLevel> {
    let key = format!("compression.{compression}.level");
    let Some(levels) = compression.levels() else { return Ok(CompressionLevel::DEFAULT) };
    if values.given(&key).is_none() {
        return Ok(CompressionLevel::DEFAULT);
    }
    let level = values.number(&key)?;
    // gzip's -1 is the codec's own choice
    if compression == Compression::Gzip && level == -1 {
        return Ok(CompressionLevel::DEFAULT);
    }
    let known = i32::try_from(level).ok().and_then(|level| CompressionLevel::new(compression, level));
    known.ok_or_else(|| {
        let allowed = format!("a level from {} to {}", levels.start(), levels.end());
        invalid(&key, &level.to_string(), &allowed)
    })
}

/// At least `linger.ms + request.timeout.ms`, so that a request can be tried once.
fn delivery_timeout(values: &Values<'_>, linger: Duration, request_timeout: Duration) -> Result<Duration> {
    const KEY: &str = "delivery.timeout.ms";
    let least = linger.saturating_add(request_timeout).min(Duration::from_millis(i32::MAX as u64));
    let timeout = values.millis(KEY)?;
    if timeout >= least {
        return Ok(timeout);
    }
    match values.given(KEY) {
        Some(text) => {
            let allowed = format!("at least linger.ms + request.timeout.ms = {} ms", least.as_millis());
            Err(invalid(KEY, text, &allowed))
        }
        None => Ok(least),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ClientRole;

    fn parse(pairs: &[(&str, &str)]) -> Result<Settings> {
        let properties = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let values = Values::new(ClientRole::Producer, &properties);
        values.check()?;
        Settings::read(&values, Duration::from_secs(30))
    }

    #[test]
    fn defaults_are_kafkas() {
        let settings = parse(&[]).unwrap();
        assert_eq!((settings.acks, settings.batch_size, settings.max_in_flight), (-1, 16_384, 5));
        assert_eq!(settings.linger, Duration::from_millis(5));
        assert_eq!(settings.delivery_timeout, Duration::from_secs(120));
        assert!(settings.idempotence);
    }

    #[test]
    fn idempotence_gives_way_or_insists() {
        assert!(!parse(&[("acks", "1")]).unwrap().idempotence);
        assert!(!parse(&[("max.in.flight.requests.per.connection", "6")]).unwrap().idempotence);
        let error = parse(&[("acks", "1"), ("enable.idempotence", "true")]).unwrap_err();
        assert!(error.to_string().contains("acks"), "{error}");
        let error = parse(&[("retries", "0"), ("transactional.id", "t")]).unwrap_err();
        assert!(error.to_string().contains("retries"), "{error}");
        assert!(parse(&[("enable.idempotence", "false"), ("transactional.id", "t")]).is_err());
    }

    #[test]
    fn the_partitioners_of_kafka() {
        let with = |class: &str| parse(&[("partitioner.class", class)]);
        let of = with("org.apache.kafka.clients.producer.RoundRobinPartitioner").unwrap();
        assert!(of.round_robin && !of.ignore_keys);
        assert!(with("org.apache.kafka.clients.producer.UniformStickyPartitioner").unwrap().ignore_keys);
        let of = with("org.apache.kafka.clients.producer.internals.DefaultPartitioner").unwrap();
        assert!(!of.round_robin && !of.ignore_keys && of.adaptive && of.availability_timeout.is_none());
        assert!(with("org.example.RoundRobinPartitioner").is_err());
    }

    #[test]
    fn bad_values_name_the_key() {
        for (key, value) in [
            ("acks", "2"),
            ("compression.type", "lzma"),
            ("batch.size", "-1"),
            ("linger.ms", "soon"),
            ("delivery.timeout.ms", "10"),
            ("enable.idempotence", "maybe"),
        ] {
            let error = parse(&[(key, value)]).unwrap_err().to_string();
            assert!(error.contains(key) && error.contains(value), "{error}");
        }
        assert!(parse(&[("compression.type", "zstd"), ("compression.zstd.level", "99")]).is_err());
        assert!(parse(&[("compression.type", "gzip"), ("compression.gzip.level", "9")]).is_ok());
    }
}
