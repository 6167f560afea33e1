//! The envelope `{"schema":…,"payload":…}`: what precedes a payload is compared with what preceded earlier ones, and only read
//! when it is new.

use std::sync::Arc;

use super::read::{Plan, ReadError, Reader};
use super::scan::{Kind, Scanner};
use super::schema;
use crate::data::{SchemaId, Value};

/// What precedes the payload of an envelope, and the plan for it.
struct Known {
    prefix: Box<[u8]>,
    /// None: the schema is null.
    plan: Option<Arc<Plan>>,
}

/// Envelopes that have been seen.
pub(super) struct Envelopes {
    known: Vec<Known>,
    capacity: usize,
    /// The one seen last.
    last: usize,
}

impl Envelopes {
    pub(super) const fn new(capacity: usize) -> Self {
        Self { known: Vec::new(), capacity, last: 0 }
    }

    /// How much of the text is an envelope that has been seen: it is known to be UTF-8.
    #[inline]
    pub(super) fn known_prefix(&mut self, text: &[u8]) -> usize {
        self.find(text).map_or(0, |known| known.prefix.len())
    }

    /// Reads a whole message.
    pub(super) fn read(&mut self, reader: &mut Reader<'_>) -> Result<(SchemaId, Value), ReadError> {
        if let Some(known) = self.find(reader.scanner.text) {
            reader.scanner.at = known.prefix.len();
            let read = payload(reader, known.plan.as_deref())?;
            if reader.scanner.take(b'}') {
                return Ok(read);
            }
            // Another member follows: the long way says what is wrong.
            reader.stack.clear();
            reader.scanner.at = 0;
        }
        let parts = Parts::of(&mut reader.scanner)?;
        let text = reader.scanner.text;
        let json = Scanner::new(&text[..parts.schema.end], parts.schema.start).tree(1)?;
        let schema = schema::parse(&json, reader.options).map_err(ReadError::Data)?;
        let plan = schema.map(|schema| Arc::new(Plan::new(&schema)));
        let end = reader.scanner.at;
        reader.scanner.at = parts.payload;
        let read = payload(reader, plan.as_deref())?;
        reader.scanner.at = end;
        if parts.schema.end < parts.payload {
            self.add(Known { prefix: text[..parts.payload].into(), plan });
        }
        Ok(read)
    }

    #[inline]
    fn find(&mut self, text: &[u8]) -> Option<&Known> {
        let fits = |known: &Known| text.starts_with(&known.prefix);
        if !self.known.get(self.last).is_some_and(fits) {
            self.last = self.known.iter().position(fits)?;
        }
        self.known.get(self.last)
    }

    fn add(&mut self, known: Known) {
        if self.known.len() >= self.capacity {
            self.known.remove(0);
        }
        self.known.push(known);
        self.last = self.known.len() - 1;
    }
}

fn payload(reader: &mut Reader<'_>, plan: Option<&Plan>) -> Result<(SchemaId, Value), ReadError> {
    match plan {
        Some(plan) => {
            let schema = reader.batch.intern_schema(&plan.schema);
            Ok((schema, reader.typed(plan, 1)?))
        }
        None => Ok((0, reader.any(1)?)),
    }
}

/// Where the two members of an envelope are.
struct Parts {
    schema: std::ops::Range<usize>,
    payload: usize,
}

impl Parts {
    /// Goes through the whole message.
    fn of(scanner: &mut Scanner<'_>) -> Result<Self, ReadError> {
        const NO_ENVELOPE: &str = "JsonConverter with schemas.enable requires \"schema\" and \"payload\" fields and may not \
            contain additional fields. If you are trying to deserialize plain JSON data, set schemas.enable=false in your \
            converter configuration.";
        let none = || ReadError::data(NO_ENVELOPE);
        scanner.skip_blanks();
        if scanner.peek().is_none() {
            return Err(none());
        }
        if scanner.kind()? != Kind::Object {
            scanner.skip(0)?;
            return Err(none());
        }
        scanner.open(0)?;
        let (mut schema, mut payload, mut other) = (None, None, false);
        if !scanner.take(b'}') {
            loop {
                let name = scanner.name()?;
                scanner.skip_blanks();
                let start = scanner.at;
                scanner.skip(1)?;
                match &*scanner.content(name)? {
                    b"schema" => schema = Some(start..scanner.at),
                    b"payload" => payload = Some(start),
                    _ => other = true,
                }
                if scanner.take(b'}') {
                    break;
                }
                scanner.expect(b',', "no comma between the members of an object")?;
            }
        }
        match (schema, payload) {
            (Some(schema), Some(payload)) if !other => Ok(Self { schema, payload }),
            _ => Err(none()),
        }
    }
}
