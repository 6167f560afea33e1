//! Texts to values and back, apart from where their schema is: with the message, or in a registry.

use std::borrow::Cow;

use super::Dialect;
use super::encoding;
use super::read::{self, ReadError, ReadOptions, Reader};
use super::scan::{Malformed, Scanner};
use super::shapes::Shapes;
use super::write::{self, DecimalFormat, Options};
use crate::converter::Failure;
use crate::data::{Batch, SchemaRef, Span, Value};

/// Why a text by a schema of the registry was not read.
pub(in crate::converter) enum TextError {
    /// It is no JSON.
    Malformed(String),
    /// It is not what the schema says.
    Misfit(Failure),
}

/// Reads texts of one schema by the rules of `JsonSchemaConverter`.
#[derive(Debug)]
pub(in crate::converter) struct TextReader {
    plan: read::Plan,
    stack: Vec<Value>,
    shapes: Shapes,
}

impl TextReader {
    pub(in crate::converter) fn new(schema: &SchemaRef) -> Self {
        Self { plan: read::Plan::new(schema), stack: Vec::new(), shapes: Shapes::default() }
    }

    pub(in crate::converter) const fn schema(&self) -> &SchemaRef {
        &self.plan.schema
    }

    /// `place` is the text's place in the batch.
    pub(in crate::converter) fn read(
        &mut self,
        text: &[u8],
        place: Span,
        batch: &mut Batch,
    ) -> Result<Value, TextError> {
        let options = ReadOptions {
            replace_null_with_default: true,
            fail_on_overflow: false,
            dialect: Dialect::JsonSchema,
        };
        let malformed =
            |Malformed { at, what }: Malformed| TextError::Malformed(format!("at byte {at}: {what}"));
        let (utf8, place) = match encoding::utf8(text) {
            Some(Cow::Borrowed(utf8)) => {
                let skipped = (text.len() - utf8.len()) as u32;
                (
                    Cow::Borrowed(utf8),
                    Span { offset: place.offset + skipped, len: place.len - skipped, ..place },
                )
            }
            Some(Cow::Owned(utf8)) => {
                let place = batch.put_bytes(&utf8);
                (Cow::Owned(utf8), place)
            }
            None => return Err(malformed(Malformed { at: 0, what: "the text has an unsupported encoding" })),
        };
        if let Err(error) = std::str::from_utf8(&utf8) {
            return Err(malformed(Malformed { at: error.valid_up_to(), what: "the text is not UTF-8" }));
        }
        self.stack.clear();
        self.shapes.restart();
        let mut reader = Reader {
            scanner: Scanner::new(&utf8, 0),
            batch,
            stack: &mut self.stack,
            shapes: &mut self.shapes,
            span: place,
            options,
            structs: 0,
        };
        reader.typed_root(&self.plan).map_err(|error| match error {
            ReadError::Malformed(why) => malformed(why),
            ReadError::Data(failure) => TextError::Misfit(failure),
        })
    }
}

/// Writes values of one schema by the rules of `JsonSchemaConverter`.
#[derive(Debug)]
pub(in crate::converter) struct TextWriter {
    plan: write::Plan,
    options: Options,
}

impl TextWriter {
    /// `numeric_decimals`: `decimal.format`. `ignore_defaults`: null is written although there is a default.
    pub(in crate::converter) fn new(
        schema: &SchemaRef,
        numeric_decimals: bool,
        ignore_defaults: bool,
    ) -> Self {
        let options = Options {
            decimal: if numeric_decimals { DecimalFormat::Numeric } else { DecimalFormat::Base64 },
            replace_null_with_default: !ignore_defaults,
            dialect: Dialect::JsonSchema,
        };
        Self { plan: write::Plan::new(schema), options }
    }

    pub(in crate::converter) fn write(
        &self,
        batch: &Batch,
        value: Value,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        write::typed(batch, &self.plan, value, self.options, out)
    }
}

/// A JSON text as a tree, by the same scanner as payloads. The bounds are Jackson's.
pub(in crate::converter) fn tree(text: &str) -> Result<serde_json::Value, String> {
    let tree = Scanner::new(text.as_bytes(), 0).tree(0);
    tree.map_err(|Malformed { at, what }| format!("at byte {at}: {what}"))
}
