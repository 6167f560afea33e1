//! Names of topics, schemas and fields.

/// `schema.name.adjustment.mode`, `field.name.adjustment.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Adjustment {
    None,
    /// What Avro does not allow becomes an underscore.
    Avro,
    /// What Avro does not allow becomes `_uXXXX`, an underscore two of them.
    AvroUnicode,
}

/// Longest topic name that Kafka takes.
const MAX_TOPIC: usize = 249;

/// How this source's things are called.
#[derive(Debug, Clone)]
pub(super) struct Naming {
    pub(super) prefix: String,
    pub(super) delimiter: String,
    pub(super) heartbeat_prefix: String,
    pub(super) transaction: String,
    pub(super) schema_names: Adjustment,
    pub(super) field_names: Adjustment,
}

fn topic(name: &str) -> String {
    let legal = |char: char| if char.is_ascii_alphanumeric() || "._-".contains(char) { char } else { '_' };
    name.chars().map(legal).take(MAX_TOPIC).collect()
}

impl Naming {
    /// Topic of a table's events.
    pub(super) fn table_topic(&self, schema: &str, table: &str) -> String {
        topic(&[&*self.prefix, schema, table].join(&self.delimiter))
    }

    /// Topic of transactions.
    pub(super) fn transaction_topic(&self) -> String {
        topic(&[&*self.prefix, &self.transaction].join(&self.delimiter))
    }

    /// Topic of logical messages.
    pub(super) fn message_topic(&self) -> String {
        topic(&[&*self.prefix, "message"].join(&self.delimiter))
    }

    /// Topic of heartbeats.
    pub(super) fn heartbeat_topic(&self) -> String {
        topic(&[&*self.heartbeat_prefix, &self.prefix].join(&self.delimiter))
    }

    /// A schema's name: `Key`, `Value` or `Envelope` of a table.
    pub(super) fn schema_name(&self, schema: &str, table: &str, part: &str) -> String {
        let name = format!("{}.{schema}.{table}.{part}", self.prefix);
        adjust(&name, self.schema_names, true)
    }

    /// A field's name.
    pub(super) fn field_name(&self, column: &str) -> String {
        adjust(column, self.field_names, false)
    }
}

fn adjust(name: &str, mode: Adjustment, dots: bool) -> String {
    if mode == Adjustment::None {
        return name.to_owned();
    }
    let mut out = String::with_capacity(name.len());
    let mut first = true;
    for char in name.chars() {
        let legal = char.is_ascii_alphabetic()
            || (char == '_' && mode == Adjustment::Avro)
            || (char.is_ascii_digit() && !first)
            || (dots && char == '.');
        match mode {
            _ if legal => out.push(char),
            Adjustment::AvroUnicode if char == '_' => out.push_str("__"),
            Adjustment::AvroUnicode => out.push_str(&format!("_u{:04x}", u32::from(char))),
            _ if char.is_ascii_digit() => {
                out.push('_');
                out.push(char);
            }
            _ => out.push('_'),
        }
        first = dots && char == '.';
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let naming = Naming {
            prefix: "p".to_owned(),
            delimiter: ".".to_owned(),
            heartbeat_prefix: "__hb".to_owned(),
            transaction: "transaction".to_owned(),
            schema_names: Adjustment::Avro,
            field_names: Adjustment::AvroUnicode,
        };
        assert_eq!(naming.table_topic("public", "a b"), "p.public.a_b");
        assert_eq!(naming.schema_name("public", "1-a", "Key"), "p.public._1_a.Key");
        assert_eq!(naming.field_name("a-b_c"), "a_u002db__c");
        assert_eq!(naming.heartbeat_topic(), "__hb.p");
    }
}
