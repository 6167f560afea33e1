//! Transforms and converters of one task, and the order in which they run.

use super::retry;
use crate::config::with_prefix;
use crate::connector::{ConfigMap, ConnectError};
use crate::converter::{self, Converter, DEFAULT_HEADER_CONVERTER, Encoded, HeaderConverter, Wait};
use crate::data::{Batch, Record, Side, Stage};
use crate::transform::Chain;

/// What a task does to its records between Kafka and the connector. Buffers are kept from batch to batch.
pub(super) struct Pipeline {
    chain: Chain,
    key: Box<dyn Converter>,
    value: Box<dyn Converter>,
    header: Box<dyn HeaderConverter>,
    keys: Encoded,
    values: Encoded,
    headers: Encoded,
    /// Full names of the classes of key, value and header converter.
    classes: [String; 3],
}

impl Pipeline {
    /// The connector's transforms and converters; the worker's converters where the connector names none.
    pub(super) fn new(worker: &ConfigMap, connector: &ConfigMap) -> Result<Pipeline, ConnectError> {
        let bad = |error| {
            ConnectError::fatal("the connector's transforms or converters cannot be made").caused_by(error)
        };
        let (key_class, key_config) = converter_config("key.converter", worker, connector);
        let (value_class, value_config) = converter_config("value.converter", worker, connector);
        let (header_class, header_config) = converter_config("header.converter", worker, connector);
        let header_class =
            if header_class.is_empty() { DEFAULT_HEADER_CONVERTER } else { header_class.as_str() };
        Ok(Pipeline {
            chain: Chain::from_config(connector).map_err(bad)?,
            key: converter::create(&key_class, &key_config, true).map_err(bad)?,
            value: converter::create(&value_class, &value_config, false).map_err(bad)?,
            header: converter::create_header(header_class, &header_config).map_err(bad)?,
            keys: Encoded::default(),
            values: Encoded::default(),
            headers: Encoded::default(),
            classes: [key_class.as_str(), &value_class, header_class].map(converter::full_name),
        })
    }

    /// For a sink of JSON documents: JSON messages without schema, of which no transform wants to know more, stay the texts
    /// that they are.
    pub(super) fn keep_json(
        &mut self,
        worker: &ConfigMap,
        connector: &ConfigMap,
    ) -> Result<(), ConnectError> {
        if !self.chain.is_empty() {
            return Ok(());
        }
        let (class, config) = converter_config("value.converter", worker, connector);
        let bad = |error| ConnectError::fatal("the value converter cannot be made").caused_by(error);
        if let Some(documents) = converter::json_documents(&class, &config).map_err(bad)? {
            self.value = documents;
        }
        Ok(())
    }

    /// The class that failed a record of the last batch, by the error's place in [`Batch::errors`].
    pub(super) fn failed_class(&self, error: u32, stage: Stage) -> Option<&str> {
        match stage {
            Stage::KeyConverter => Some(&self.classes[0]),
            Stage::ValueConverter => Some(&self.classes[1]),
            Stage::HeaderConverter => Some(&self.classes[2]),
            Stage::Transformation => self.chain.failed_class(error as usize),
            _ => None,
        }
    }

    /// Source: transforms. Gives what has to be waited for before [`Self::encode`]. Failures mark their records.
    pub(super) fn transform(&mut self, batch: &mut Batch) -> Option<Wait> {
        self.chain.apply(batch);
        both(self.key.prepare_encode(batch, Side::Key), self.value.prepare_encode(batch, Side::Value))
    }

    /// Source, after [`Self::transform`]: headers, keys and values to bytes. Failures mark their records.
    pub(super) fn encode(&mut self, batch: &mut Batch) {
        self.header.encode(batch, &mut self.headers);
        self.key.encode(batch, Side::Key, &mut self.keys);
        self.value.encode(batch, Side::Value, &mut self.values);
    }

    /// What has to be waited for before [`Self::decode`].
    pub(super) fn prepare_decode(&mut self, batch: &Batch) -> Option<Wait> {
        both(self.key.prepare_decode(batch, Side::Key), self.value.prepare_decode(batch, Side::Value))
    }

    /// Sink: keys, values and headers from bytes, then transforms. Failures mark their records.
    pub(super) fn decode(&mut self, batch: &mut Batch) {
        self.key.decode(batch, Side::Key);
        self.value.decode(batch, Side::Value);
        self.header.decode(batch);
        batch.rows_are_own();
        self.chain.apply(batch);
    }

    /// Key and value of a record as bytes, after [`Self::encode`].
    #[inline]
    pub(super) fn encoded<'a>(
        &'a self,
        batch: &'a Batch,
        record: usize,
    ) -> (Option<&'a [u8]>, Option<&'a [u8]>) {
        (self.keys.get(batch, record), self.values.get(batch, record))
    }

    /// Keys of a record's headers and their values as bytes, after [`Self::encode`].
    #[inline]
    pub(super) fn encoded_headers<'a>(
        &'a self,
        batch: &'a Batch,
        record: &Record,
    ) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> {
        record.headers.places().filter_map(|at| {
            let header = batch.headers.get(at)?;
            Some((batch.bytes(header.key), self.headers.get(batch, at)))
        })
    }
}

fn both(one: Option<Wait>, other: Option<Wait>) -> Option<Wait> {
    match (one, other) {
        (Some(one), Some(other)) => Some(Box::pin(async move {
            one.await;
            other.await;
        })),
        (one, other) => one.or(other),
    }
}

/// Class and settings of a converter. The connector's if it names a class, else the worker's: never a mixture of both.
fn converter_config(key: &str, worker: &ConfigMap, connector: &ConfigMap) -> (String, ConfigMap) {
    let from = if connector.contains_key(key) { connector } else { worker };
    let class = from.get(key).map(|class| class.trim()).unwrap_or_default();
    let mut settings = with_prefix(from, &format!("{key}."));
    // look-ups of a converter are tried again as the connector asks for
    if let Some(longest) = connector.get(retry::LONGEST_DELAY) {
        settings.insert(retry::LONGEST_DELAY.to_owned(), longest.clone());
    }
    (class.to_owned(), settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, &str)]) -> ConfigMap {
        entries.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn converter_settings_are_all_of_one_side() {
        let worker = map(&[("value.converter", "J"), ("value.converter.schemas.enable", "false")]);
        let own = map(&[("value.converter", "S"), ("value.converter.x", "1")]);
        assert_eq!(converter_config("value.converter", &worker, &own), ("S".to_owned(), map(&[("x", "1")])));
        let alone = map(&[("value.converter.schemas.enable", "true")]);
        let expected = ("J".to_owned(), map(&[("schemas.enable", "false")]));
        assert_eq!(converter_config("value.converter", &worker, &alone), expected);
    }
}
