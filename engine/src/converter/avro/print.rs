//! Avro schemas as Avro's Java library prints them. The text matters: to a registry another text is another schema.

use std::collections::HashSet;

use serde_json::Value as Json;

use super::model::{AvroSchema, Kind, Named, NodeId};

/// The schema's text. A named type is written out once, then by its name.
pub(super) fn print(schema: &AvroSchema) -> String {
    let mut printer = Printer { schema, known: HashSet::new(), out: String::new() };
    printer.node(schema.root, None);
    printer.out
}

struct Printer<'a> {
    schema: &'a AvroSchema,
    known: HashSet<String>,
    out: String,
}

impl Printer<'_> {
    fn text(&mut self, text: &str) {
        // serde_json writes any text
        self.out.push_str(&Json::from(text).to_string());
    }

    fn member(&mut self, name: &str, value: &str) {
        self.out.push(',');
        self.text(name);
        self.out.push(':');
        self.text(value);
    }

    fn json(&mut self, name: &str, value: &Json) {
        self.out.push(',');
        self.text(name);
        self.out.push(':');
        self.out.push_str(&value.to_string());
    }

    fn open(&mut self, kind: &str) {
        self.out.push_str("{\"type\":");
        self.text(kind);
    }

    fn close(&mut self, id: NodeId) {
        let schema = self.schema;
        for (name, value) in &schema.node(id).props {
            self.json(name, value);
        }
        if let Some(named) = schema.kind(id).named().filter(|named| !named.aliases.is_empty()) {
            self.json("aliases", &Json::from(named.aliases.clone()));
        }
        self.out.push('}');
    }

    /// Name, namespace where it differs, and doc.
    fn name(&mut self, named: &Named, space: Option<&str>) {
        self.member("name", &named.name.name);
        match (named.name.space.as_deref(), space) {
            (Some(own), outer) if Some(own) != outer => self.member("namespace", own),
            (None, Some(_)) => self.member("namespace", ""),
            _ => {}
        }
    }

    /// By name, if the type has been written out.
    fn is_reference(&mut self, named: &Named, space: Option<&str>) -> bool {
        let full = named.name.full();
        if self.known.insert(full.clone()) {
            return false;
        }
        let simple = named.name.space.as_deref() == space
            && space.is_some()
            && Kind::primitive(&named.name.name).is_none();
        let text = if simple { named.name.name.clone() } else { full };
        self.text(&text);
        true
    }

    fn node(&mut self, id: NodeId, space: Option<&str>) {
        let schema = self.schema;
        let node = schema.node(id);
        if node.kind.named().is_some_and(|named| self.is_reference(named, space)) {
            return;
        }
        match &node.kind {
            Kind::Union(branches) => {
                self.out.push('[');
                for (index, branch) in branches.iter().enumerate() {
                    self.out.extend((index > 0).then_some(','));
                    self.node(*branch, space);
                }
                self.out.push(']');
            }
            Kind::Array(items) => {
                self.open("array");
                self.out.push_str(",\"items\":");
                self.node(*items, space);
                self.close(id);
            }
            Kind::Map(values) => {
                self.open("map");
                self.out.push_str(",\"values\":");
                self.node(*values, space);
                self.close(id);
            }
            Kind::Record(named, _) => self.record(id, named, space),
            Kind::Enum(named, symbols) => {
                self.open("enum");
                self.name(named, space);
                named.doc.iter().for_each(|doc| self.member("doc", doc));
                self.json("symbols", &Json::from(symbols.symbols.clone()));
                symbols.default.iter().for_each(|default| self.member("default", default));
                self.close(id);
            }
            Kind::Fixed(named, size) => {
                self.open("fixed");
                self.name(named, space);
                named.doc.iter().for_each(|doc| self.member("doc", doc));
                self.json("size", &Json::from(*size));
                self.close(id);
            }
            primitive if node.props.is_empty() => self.text(primitive.type_name()),
            primitive => {
                self.open(primitive.type_name());
                self.close(id);
            }
        }
    }

    fn record(&mut self, id: NodeId, named: &Named, space: Option<&str>) {
        let schema = self.schema;
        let Kind::Record(_, fields) = schema.kind(id) else { return };
        self.open("record");
        self.name(named, space);
        named.doc.iter().for_each(|doc| self.member("doc", doc));
        self.out.push_str(",\"fields\":[");
        for (index, field) in fields.iter().enumerate() {
            self.out.push_str(if index > 0 { ",{\"name\":" } else { "{\"name\":" });
            self.text(&field.name);
            self.out.push_str(",\"type\":");
            self.node(field.node, named.name.space.as_deref());
            field.doc.iter().for_each(|doc| self.member("doc", doc));
            if let Some(default) = &field.default {
                self.json("default", default);
            }
            for (name, value) in &field.props {
                self.json(name, value);
            }
            self.out.push('}');
        }
        self.out.push(']');
        self.close(id);
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;

    #[test]
    fn texts_come_back_as_they_were() {
        for text in [
            "\"long\"",
            r#"{"type":"long","connect.doc":"d"}"#,
            r#"["null",{"type":"record","name":"Y","namespace":"x","fields":[{"name":"a","type":"int"}],"connect.name":"x.Y"}]"#,
            r#"{"type":"record","name":"O","namespace":"n","fields":[{"name":"a","type":{"type":"enum","name":"E","symbols":["A"],"default":"A"},"default":"A"},{"name":"b","type":["null","E"],"default":null}]}"#,
            r#"{"type":"record","name":"N","fields":[{"name":"next","type":["null","N"]}]}"#,
            r#"{"type":"record","name":"A","namespace":"x","fields":[{"name":"f","type":{"type":"fixed","name":"F","namespace":"","size":4}},{"name":"g","type":{"type":"map","values":{"type":"array","items":"F"}}}]}"#,
        ] {
            assert_eq!(print(&parse(text, &[]).unwrap()), text);
        }
    }

    #[test]
    fn a_schema_may_use_its_references() {
        let reference = r#"{"type":"enum","name":"n.E","symbols":["A"]}"#;
        let schema = parse(r#"{"type":"array","items":"n.E"}"#, &[reference]).unwrap();
        assert!(print(&schema).contains("symbols"));
        assert!(parse(r#"{"type":"array","items":"n.E"}"#, &[]).unwrap_err().contains("n.E"));
        assert!(parse(r#"["int","int"]"#, &[]).is_err());
    }
}
