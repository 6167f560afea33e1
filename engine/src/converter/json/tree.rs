//! JSON text as a tree: for schemas, which are read once, and for what has members of the same name.

use serde_json::{Map, Value as Json};

use super::scan::{Kind, Malformed, Scanner, Text};

impl Scanner<'_> {
    /// The next value as a tree. `depth` is the number of arrays and objects around it.
    pub(super) fn tree(&mut self, depth: u32) -> Result<Json, Malformed> {
        Ok(match self.kind()? {
            Kind::Null => {
                self.literal(b"null")?;
                Json::Null
            }
            Kind::Boolean => Json::Bool(self.boolean()?),
            Kind::Number => self.number()?.tree(),
            Kind::String => {
                let text = self.string()?;
                Json::String(self.owned(text)?)
            }
            Kind::Array => {
                self.open(depth)?;
                let mut items = Vec::new();
                while !self.take(b']') {
                    if !items.is_empty() {
                        self.expect(b',', "no comma between the items of an array")?;
                    }
                    items.push(self.tree(depth + 1)?);
                }
                Json::Array(items)
            }
            Kind::Object => {
                self.open(depth)?;
                let mut members = Map::new();
                while !self.take(b'}') {
                    if !members.is_empty() {
                        self.expect(b',', "no comma between the members of an object")?;
                    }
                    let name = self.name()?;
                    let name = self.owned(name)?;
                    let earlier = members.insert(name, self.tree(depth + 1)?);
                    self.duplicates |= earlier.is_some();
                }
                Json::Object(members)
            }
        })
    }

    fn owned(&self, text: Text) -> Result<String, Malformed> {
        Ok(String::from_utf8_lossy(&self.content(text)?).into_owned())
    }
}
