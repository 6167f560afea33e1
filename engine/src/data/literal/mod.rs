//! Connect's literals: the text form of a value that `SimpleHeaderConverter` reads and writes, and that `InsertHeader` takes.
//!
//! What looks like a boolean, a number, a date, an array or a map becomes one; everything else is a string. A literal is
//! not always read back as it was written: `1.0` comes back as `1`.

mod merge;
mod parse;
mod print;
mod scalar;

use super::{Batch, Schema, SchemaId, Span, Type, Value};

pub use print::print_literal;

/// Reads a text (UTF-8, a place in the batch) as JVM Connect reads a literal.
pub fn parse_literal(batch: &mut Batch, text: Span) -> (SchemaId, Value) {
    let content = batch.str(text);
    if is_plainly_text(content) {
        return (batch.intern_schema(Schema::primitive(Type::String, false)), Value::String(text));
    }
    let literal = match parse::parse(content) {
        Ok(None) => return (0, Value::Null),
        Ok(Some(literal)) => literal,
        // Java's stack overflows: the converter then takes the bytes
        Err(parse::TooDeep) => {
            return (batch.intern_schema(Schema::primitive(Type::Bytes, false)), Value::Bytes(text));
        }
    };
    let schema = batch.intern_equal_schema(&literal.schema);
    (schema, batch.put_constant(&literal.value))
}

/// Whether the first character says already that it is a string: most are, and cost no more than this.
fn is_plainly_text(text: &str) -> bool {
    match text.as_bytes().first() {
        None => true,
        Some(b't') => !text.starts_with("true"),
        Some(b'f') => !text.starts_with("false"),
        Some(b'n') => !text.starts_with("null"),
        Some(first) => first.is_ascii_alphabetic(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Type name, and the value as it is written again.
    fn round(text: &str) -> (String, String) {
        let mut batch = Batch::default();
        let span = batch.put_str(text);
        let (schema, value) = parse_literal(&mut batch, span);
        let kind =
            batch.schema(schema).map_or("", |schema| schema.name.as_deref().unwrap_or(schema.kind.name()));
        let kind = kind.rsplit('.').next().unwrap_or(kind).to_owned();
        let mut out = Vec::new();
        print_literal(&batch, batch.schema(schema), value, &mut out);
        (kind, String::from_utf8(out).unwrap())
    }

    #[test]
    fn literals_are_connects() {
        for (text, kind, written) in [
            ("", "STRING", ""),
            ("abc", "STRING", "abc"),
            ("true", "BOOLEAN", "true"),
            ("true}", "STRING", "true}"),
            ("truer", "STRING", "truer"),
            ("null", "", "null"),
            ("1", "INT8", "1"),
            ("1.0", "INT8", "1"),
            ("1e3", "INT16", "1000"),
            ("007", "INT8", "7"),
            ("+5", "INT8", "5"),
            ("-70000", "INT32", "-70000"),
            ("9223372036854775807", "INT64", "9223372036854775807"),
            ("12345678901234567890", "Decimal", "12345678901234567890"),
            ("0.1", "FLOAT32", "0.1"),
            ("1e40", "FLOAT64", "1.0E40"),
            ("1e400", "Decimal", "1E+400"),
            ("1 2", "STRING", "1 2"),
            ("2020-01-02", "Date", "2020-01-02"),
            ("2020-13-45", "Date", "2021-02-14"),
            ("12:34:56.789Z", "Time", "12:34:56.789Z"),
            ("2020-01-02T03:04:05.678Z", "Timestamp", "2020-01-02T03:04:05.678Z"),
            ("[]", "ARRAY", "[]"),
            ("[1, 2 , 300]", "ARRAY", "[1,2,300]"),
            ("[1,]", "ARRAY", "[1]"),
            ("[1,2.5]", "ARRAY", "[1.0,2.5]"),
            ("[1,\"a\"]", "ARRAY", "[1,\"a\"]"),
            ("[1,null]", "STRING", "[1,null]"),
            ("[1", "STRING", "[1"),
            ("{a:1}", "STRING", "{a:1}"),
            ("{\"a\":1}", "MAP", "{\"a\":1}"),
            ("{\"a\":[true]}", "MAP", "{\"a\":[true]}"),
            ("\"q\"", "STRING", "\"q\""),
            (" [1", "STRING", " "),
        ] {
            assert_eq!(round(text), (kind.to_owned(), written.to_owned()), "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        assert_eq!(round(&"[".repeat(100_000)).0, "BYTES");
    }
}
