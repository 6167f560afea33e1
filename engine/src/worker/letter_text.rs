//! What a source's failed records are in the dead letter queue: key and value as JSON with their schemas, whatever the
//! connector's own converters are, since it may be them that failed.

use crate::connector::{ConfigMap, ConnectError};
use crate::converter::{self, Converter, DEFAULT_HEADER_CONVERTER, Encoded, HeaderConverter};
use crate::data::{Batch, RecordState, Side, append_java_string};

const JSON: &str = "org.apache.kafka.connect.json.JsonConverter";

/// The converters, and what they last wrote.
pub(super) struct LetterText {
    sides: [(Side, Box<dyn Converter>, Encoded); 2],
    header: Box<dyn HeaderConverter>,
    headers: Encoded,
    /// For each record and side that JSON has no form for: what Java would print.
    plain: Vec<(usize, Side, Vec<u8>)>,
}

impl LetterText {
    pub(super) fn new() -> Result<LetterText, ConnectError> {
        let bad = |error| ConnectError::fatal("no converters for the dead letter queue").caused_by(error);
        let json = |is_key| converter::create(JSON, &ConfigMap::new(), is_key).map_err(bad);
        Ok(LetterText {
            sides: [
                (Side::Key, json(true)?, Encoded::default()),
                (Side::Value, json(false)?, Encoded::default()),
            ],
            header: converter::create_header(DEFAULT_HEADER_CONVERTER, &ConfigMap::new()).map_err(bad)?,
            headers: Encoded::default(),
            plain: Vec::new(),
        })
    }

    /// Writes the failed records of a batch, and leaves the batch as it was.
    pub(super) fn encode(&mut self, batch: &mut Batch) {
        let states: Vec<RecordState> = batch.records.iter().map(|record| record.state).collect();
        let errors = batch.errors.len();
        self.plain.clear();
        for (side, converter, out) in &mut self.sides {
            only_failed(batch, &states);
            converter.encode(batch, *side, out);
            for (index, record) in batch.records.iter().enumerate() {
                if let RecordState::Failed(_) = record.state {
                    let (schema, value) = record.side(*side);
                    let mut text = Vec::new();
                    append_java_string(batch, batch.schema(schema), value, &mut text);
                    self.plain.push((index, *side, text));
                }
            }
        }
        only_failed(batch, &states);
        self.header.encode(batch, &mut self.headers);
        for (record, state) in batch.records.iter_mut().zip(states) {
            record.state = state;
        }
        batch.errors.truncate(errors);
    }

    /// Key, value and headers of a record, after [`Self::encode`].
    #[allow(clippy::type_complexity)] // the same as of a record as it was read
    pub(super) fn get<'a>(
        &'a self,
        batch: &'a Batch,
        index: usize,
    ) -> ((Option<&'a [u8]>, Option<&'a [u8]>), Vec<(&'a [u8], Option<&'a [u8]>)>) {
        let side = |(side, _, out): &'a (Side, Box<dyn Converter>, Encoded)| {
            let plain = self.plain.iter().find(|(at, of, _)| *at == index && of == side);
            plain.map_or_else(|| out.get(batch, index), |(_, _, text)| Some(text))
        };
        let places = batch.records.get(index).map(|record| record.headers.places()).unwrap_or_default();
        let headers = places.filter_map(|at| {
            let header = batch.headers.get(at)?;
            Some((batch.bytes(header.key), self.headers.get(batch, at)))
        });
        ((side(&self.sides[0]), side(&self.sides[1])), headers.collect())
    }
}

/// Converters write live records only.
fn only_failed(batch: &mut Batch, states: &[RecordState]) {
    for (record, state) in batch.records.iter_mut().zip(states) {
        let failed = matches!(state, RecordState::Failed(_));
        record.state = if failed { RecordState::Live } else { RecordState::Dropped };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Record, RecordError, Schema, Stage, Value};

    #[test]
    fn only_failed_records_and_the_batch_stays() {
        let mut batch = Batch::default();
        let schema = batch.intern_schema(&Schema::string());
        for text in ["good", "bad"] {
            let value = Value::String(batch.put_str(text));
            batch.records.push(Record { value_schema: schema, value, ..Record::default() });
        }
        batch.fail(1, RecordError::data(Stage::Transformation, "no"));
        let mut text = LetterText::new().unwrap();
        text.encode(&mut batch);
        assert_eq!((batch.records[0].state, batch.errors.len()), (RecordState::Live, 1));
        assert_eq!(batch.records[1].state, RecordState::Failed(0));
        let ((key, value), headers) = text.get(&batch, 1);
        let json = br#"{"schema":{"type":"string","optional":false},"payload":"bad"}"#.as_slice();
        assert_eq!((value, headers.len()), (Some(json), 0));
        assert_eq!(key, None);
    }
}
