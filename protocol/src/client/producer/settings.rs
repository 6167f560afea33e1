//! The producer's settings under Kafka's own names, with Kafka's defaults and rules.

use std::time::Duration;

use crate::client::Properties;
use crate::client::config::invalid;
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
    pub(super) compression: Compression,
    pub(super) level: CompressionLevel,
    pub(super) max_in_flight: usize,
    pub(super) retries: u32,
    pub(super) delivery_timeout: Duration,
    pub(super) idempotence: bool,
    pub(super) ignore_keys: bool,
    pub(super) adaptive: bool,
    pub(super) transactional_id: Option<String>,
    pub(super) transaction_timeout_ms: i32,
}

impl Settings {
    pub(super) fn from_properties(properties: &Properties, request_timeout: Duration) -> Result<Self> {
        let reader = Reader(properties);
        let compression = reader.compression()?;
        let batch_size = reader.number("batch.size", 16_384, 0, i32::MAX as i64)? as usize;
        let linger = Duration::from_millis(reader.number("linger.ms", 5, 0, i64::MAX)? as u64);
        let mut settings = Self {
            acks: reader.acks()?,
            batch_size: batch_size.max(1),
            linger,
            buffer_memory: reader.number("buffer.memory", 32 << 20, 0, i64::MAX)? as usize,
            max_block: Duration::from_millis(reader.number("max.block.ms", 60_000, 0, i64::MAX)? as u64),
            max_request_size: reader.number("max.request.size", 1 << 20, 0, i32::MAX as i64)? as usize,
            compression,
            level: reader.level(compression)?,
            max_in_flight: reader.number("max.in.flight.requests.per.connection", 5, 1, i32::MAX as i64)?
                as usize,
            retries: reader.number("retries", i32::MAX as i64, 0, i32::MAX as i64)? as u32,
            delivery_timeout: reader.delivery_timeout(linger, request_timeout)?,
            idempotence: true,
            ignore_keys: reader.boolean("partitioner.ignore.keys", false)?,
            adaptive: reader.boolean("partitioner.adaptive.partitioning.enable", true)?,
            transactional_id: properties.get("transactional.id").filter(|id| !id.is_empty()).cloned(),
            transaction_timeout_ms: reader.number("transaction.timeout.ms", 60_000, 1, i32::MAX as i64)?
                as i32,
        };
        settings.idempotence = settings.decide_idempotence(&reader)?;
        Ok(settings)
    }

    /// Idempotence is on unless it is switched off or a setting that nobody combined with it on purpose excludes it.
    fn decide_idempotence(&self, reader: &Reader<'_>) -> Result<bool> {
        const KEY: &str = "enable.idempotence";
        let wanted = reader.boolean(KEY, true)?;
        let explicit = reader.0.contains_key(KEY);
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

struct Reader<'a>(&'a Properties);

impl Reader<'_> {
    fn number(&self, key: &str, default: i64, min: i64, max: i64) -> Result<i64> {
        let Some(text) = self.0.get(key) else { return Ok(default) };
        text.trim()
            .parse()
            .ok()
            .filter(|value| (min..=max).contains(value))
            .ok_or_else(|| invalid(key, text, &format!("a number from {min} to {max}")))
    }

    fn boolean(&self, key: &str, default: bool) -> Result<bool> {
        let Some(text) = self.0.get(key) else { return Ok(default) };
        match text.trim() {
            value if value.eq_ignore_ascii_case("true") => Ok(true),
            value if value.eq_ignore_ascii_case("false") => Ok(false),
            _ => Err(invalid(key, text, "true or false")),
        }
    }

    fn acks(&self) -> Result<i16> {
        match self.0.get("acks").map(|text| text.trim()) {
            None | Some("all" | "-1") => Ok(-1),
            Some("0") => Ok(0),
            Some("1") => Ok(1),
            Some(other) => Err(invalid("acks", other, "all, -1, 0 or 1")),
        }
    }

    fn compression(&self) -> Result<Compression> {
        const KEY: &str = "compression.type";
        let Some(text) = self.0.get(KEY) else { return Ok(Compression::None) };
        Compression::from_name(text.trim())
            .ok_or_else(|| invalid(KEY, text, "none, gzip, snappy, lz4 or zstd"))
    }

    fn level(&self, compression: Compression) -> Result<CompressionLevel> {
        let key = format!("compression.{compression}.level");
        let Some(text) = self.0.get(&key) else { return Ok(CompressionLevel::DEFAULT) };
        let Some(levels) = compression.levels() else { return Ok(CompressionLevel::DEFAULT) };
        let level = text.trim().parse().ok().and_then(|level| CompressionLevel::new(compression, level));
        level.ok_or_else(|| {
            invalid(&key, text, &format!("a level from {} to {}", levels.start(), levels.end()))
        })
    }

    /// At least `linger.ms + request.timeout.ms`, so that a request can be tried once.
    fn delivery_timeout(&self, linger: Duration, request_timeout: Duration) -> Result<Duration> {
        const KEY: &str = "delivery.timeout.ms";
        let least = linger.saturating_add(request_timeout);
        let timeout = Duration::from_millis(self.number(KEY, 120_000, 0, i32::MAX as i64)? as u64);
        if timeout >= least {
            return Ok(timeout);
        }
        match self.0.get(KEY) {
            Some(text) => {
                let allowed = format!("at least linger.ms + request.timeout.ms = {} ms", least.as_millis());
                Err(invalid(KEY, text, &allowed))
            }
            None => Ok(least),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<Settings> {
        let properties = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Settings::from_properties(&properties, Duration::from_secs(30))
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
