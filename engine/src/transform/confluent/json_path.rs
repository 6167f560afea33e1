//! JSON paths over a batch's values: names, `*`, places in arrays, and filters with comparisons.
//!
//! `$.a['b'].c[0]`, `$.items[*].id`, `$[?(@.state == 'new' && @.amount >= 10)]`, `$.a[?(@.name =~ /x.*/i)]`. A filter on an
//! object asks the object itself, one on an array each of its items.

mod parse;

use fancy_regex::Regex;

use crate::config::ConfigError;
use crate::data::{Batch, Schema, Value, append_java_string};

/// A value with its schema, if it has one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node<'a> {
    pub(super) schema: Option<&'a Schema>,
    pub(super) value: Value,
}

/// A compiled path.
#[derive(Debug)]
pub(super) struct JsonPath(Vec<Step>);

#[derive(Debug)]
enum Step {
    Name(String),
    Index(i64),
    All,
    Filter(Condition),
}

#[derive(Debug)]
enum Condition {
    Or(Vec<Condition>),
    And(Vec<Condition>),
    Not(Box<Condition>),
    Exists(JsonPath),
    Compare(Operand, Comparison, Operand),
    Matches(Operand, Regex),
}

#[derive(Debug)]
enum Operand {
    /// From the value that the filter asks.
    Path(JsonPath),
    /// From the root.
    Root(JsonPath),
    Text(String),
    Number(f64),
    Boolean(bool),
    Null,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What an operand is worth.
#[derive(Debug, PartialEq)]
enum Worth {
    Text(String),
    Number(f64),
    Boolean(bool),
    Null,
    Other,
}

impl<'a> Node<'a> {
    /// A struct's field, or a map's value.
    pub(super) fn member(self, batch: &'a Batch, name: &str) -> Option<Node<'a>> {
        let reader = crate::data::ValueReader::new(batch, self.schema, self.value);
        reader.field(name).map(|member| Node { schema: member.schema(), value: member.value() })
    }

    fn members(self, batch: &'a Batch) -> Vec<Node<'a>> {
        let inner = self.schema.and_then(|schema| schema.value.as_deref());
        match self.value {
            Value::Array(range) => {
                batch.items(range).iter().map(|value| Node { schema: inner, value: *value }).collect()
            }
            Value::Map(range) => {
                batch.entries(range).map(|(_, value)| Node { schema: inner, value }).collect()
            }
            Value::Struct(range) => {
                let fields = self.schema.map_or(&[][..], |schema| &schema.fields);
                let node = |(field, value): (&'a crate::data::Field, &Value)| Node {
                    schema: Some(&field.schema),
                    value: *value,
                };
                fields.iter().zip(batch.items(range)).map(node).collect()
            }
            _ => Vec::new(),
        }
    }

    fn worth(self, batch: &Batch) -> Worth {
        match self.value {
            Value::Null => Worth::Null,
            Value::Boolean(value) => Worth::Boolean(value),
            Value::Int8(value) => Worth::Number(value.into()),
            Value::Int16(value) => Worth::Number(value.into()),
            Value::Int32(value) => Worth::Number(value.into()),
            Value::Int64(value) | Value::Date(value) => Worth::Number(value as f64),
            Value::Float32(value) => Worth::Number(value.into()),
            Value::Float64(value) => Worth::Number(value),
            Value::String(span) => Worth::Text(batch.str(span).to_owned()),
            Value::Decimal(_) => {
                let mut text = Vec::new();
                append_java_string(batch, self.schema, self.value, &mut text);
                let number = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
                number.map_or(Worth::Other, Worth::Number)
            }
            _ => Worth::Other,
        }
    }
}

/// A search: the root, and whether something that was named was not there.
struct Search<'a> {
    batch: &'a Batch,
    root: Node<'a>,
    missing: bool,
}

impl<'a> Search<'a> {
    fn walk(&mut self, path: &JsonPath, from: Node<'a>) -> Vec<Node<'a>> {
        let mut nodes = vec![from];
        for step in &path.0 {
            let mut next = Vec::new();
            for node in nodes {
                self.step(step, node, &mut next);
            }
            nodes = next;
        }
        nodes
    }

    fn step(&mut self, step: &Step, node: Node<'a>, out: &mut Vec<Node<'a>>) {
        match step {
            Step::Name(name) => {
                let member = node.member(self.batch, name);
                self.missing |= member.is_none_or(|member| member.value.is_null());
                out.extend(member);
            }
            Step::Index(index) => {
                let items = node.members(self.batch);
                let place = if *index < 0 { items.len() as i64 + index } else { *index };
                let item = usize::try_from(place).ok().and_then(|place| items.get(place).copied());
                self.missing |= item.is_none();
                out.extend(item);
            }
            Step::All => out.extend(node.members(self.batch)),
            Step::Filter(condition) => {
                let candidates =
                    if matches!(node.value, Value::Array(_)) { node.members(self.batch) } else { vec![node] };
                for candidate in candidates {
                    if self.holds(condition, candidate) {
                        out.push(candidate);
                    }
                }
            }
        }
    }

    fn holds(&mut self, condition: &Condition, node: Node<'a>) -> bool {
        match condition {
            Condition::Or(parts) => parts.iter().any(|part| self.holds(part, node)),
            Condition::And(parts) => parts.iter().all(|part| self.holds(part, node)),
            Condition::Not(part) => !self.holds(part, node),
            Condition::Exists(path) => !self.walk(path, node).is_empty(),
            Condition::Compare(left, comparison, right) => {
                let (left, right) = (self.operand(left, node), self.operand(right, node));
                compare(&left, *comparison, &right)
            }
            Condition::Matches(operand, regex) => match self.operand(operand, node) {
                Worth::Text(text) => regex.is_match(&text).unwrap_or(false),
                _ => false,
            },
        }
    }

    fn operand(&mut self, operand: &Operand, node: Node<'a>) -> Worth {
        let found = match operand {
            Operand::Path(path) => self.walk(path, node),
            Operand::Root(path) => self.walk(path, self.root),
            Operand::Text(text) => return Worth::Text(text.clone()),
            Operand::Number(number) => return Worth::Number(*number),
            Operand::Boolean(value) => return Worth::Boolean(*value),
            Operand::Null => return Worth::Null,
        };
        found.first().map_or(Worth::Null, |node| node.worth(self.batch))
    }
}

fn compare(left: &Worth, comparison: Comparison, right: &Worth) -> bool {
    let order = match (left, right) {
        (Worth::Number(left), Worth::Number(right)) => left.partial_cmp(right),
        (Worth::Text(left), Worth::Text(right)) => Some(left.cmp(right)),
        _ => None,
    };
    match comparison {
        Comparison::Equal => *left != Worth::Other && left == right,
        Comparison::Unequal => *left == Worth::Other || left != right,
        Comparison::Less => order.is_some_and(|order| order.is_lt()),
        Comparison::LessOrEqual => order.is_some_and(|order| order.is_le()),
        Comparison::Greater => order.is_some_and(|order| order.is_gt()),
        Comparison::GreaterOrEqual => order.is_some_and(|order| order.is_ge()),
    }
}

impl JsonPath {
    /// Compiles the path of configuration `key`.
    ///
    /// # Errors
    /// Says where it stops making sense.
    pub(super) fn new(key: &str, text: &str) -> Result<Self, ConfigError> {
        parse::parse(text).map_err(|why| ConfigError::invalid(key, text, format!("Invalid json path: {why}")))
    }

    /// What the path finds, and whether something that it names was missing or null.
    pub(super) fn find<'a>(&self, batch: &'a Batch, root: Node<'a>) -> (Vec<Node<'a>>, bool) {
        let mut search = Search { batch, root, missing: root.value.is_null() };
        let found = search.walk(self, root);
        (found, search.missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{"a":{"b":5,"c":"new"},"l":[1,2],"n":null}`
    fn sample(batch: &mut Batch) -> Value {
        let text = |batch: &mut Batch, text: &str| Value::String(batch.put_str(text));
        let map = |batch: &mut Batch, flat: &[Value]| {
            let start = batch.push_values(flat).start;
            Value::Map(crate::data::Range32 { start, len: flat.len() as u32 / 2 })
        };
        let inner = [text(batch, "b"), Value::Int64(5), text(batch, "c"), text(batch, "new")];
        let inner = map(batch, &inner);
        let list = Value::Array(batch.push_values(&[Value::Int64(1), Value::Int64(2)]));
        let flat = [text(batch, "a"), inner, text(batch, "l"), list, text(batch, "n"), Value::Null];
        map(batch, &flat)
    }

    #[test]
    fn conditions() {
        let mut batch = Batch::default();
        let value = sample(&mut batch);
        for (path, found, missing) in [
            ("$.a.b", 1, false),
            ("$['a']['c']", 1, false),
            ("$.l[*]", 2, false),
            ("$.l[-1]", 1, false),
            ("$.l[5]", 0, true),
            ("$.x", 0, true),
            ("$.n", 1, true),
            ("$[?(@.a.b == 5)]", 1, false),
            ("$[?(@.a.b > 5)]", 0, false),
            ("$.a[?(@.c == 'new' && @.b >= 5.0)]", 1, false),
            ("$.a[?(@.c != 'new' || !(@.b < 1))]", 1, false),
            ("$.a[?(@.c =~ /NE./i)]", 1, false),
            ("$.l[?(@ > 1)]", 1, false),
            ("$[?(@.x == 1)]", 0, true),
            ("$[?(@.n == null)]", 1, true),
        ] {
            let root = Node { schema: None, value };
            let path_found = JsonPath::new("filter.condition", path).unwrap();
            let (nodes, is_missing) = path_found.find(&batch, root);
            assert_eq!((nodes.len(), is_missing), (found, missing), "{path}");
        }
        for wrong in ["", "a", "$.", "$[", "$[?(@.a ==)]", "$[?(@.a == 'x]", "$.a b", "$[?(@.a =~ /(/)]"] {
            assert!(JsonPath::new("filter.condition", wrong).is_err(), "{wrong}");
        }
    }
}
