//! Random cases: JSON with and without schema, literals in headers, numbers, text, and some transforms.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fastrand::Rng;
use serde_json::{Map, Value as Json, json};

const JSON: &str = "org.apache.kafka.connect.json.JsonConverter";
const STRING: &str = "org.apache.kafka.connect.storage.StringConverter";
const BYTES: &str = "org.apache.kafka.connect.converters.ByteArrayConverter";
const SIMPLE: &str = "org.apache.kafka.connect.storage.SimpleHeaderConverter";
const TRANSFORMS: &str = "org.apache.kafka.connect.transforms.";

/// Numbers, with a width where there is one.
const NUMBERS: [(&str, usize); 6] =
    [("Short", 2), ("Integer", 4), ("Long", 8), ("Float", 4), ("Double", 8), ("Boolean", 1)];
const NAMES: [&str; 9] = ["a", "b", "id", "x.y", "sp ace", "Ünï", "日本", "😀", "q\"q"];
const TEXTS: [&str; 19] = [
    "",
    "a",
    "null",
    "true",
    "1",
    "-5",
    "1.5",
    "é",
    "😀",
    "\0",
    "\n",
    "\"",
    "\\",
    "a,b",
    "{}",
    "[]",
    "2020-01-02",
    "\u{2028}",
    "12:00:00.000Z",
];
const TOKENS: [&str; 36] = [
    "0",
    "-0",
    "1",
    "-1",
    "127",
    "128",
    "-129",
    "255",
    "32768",
    "65536",
    "2147483647",
    "2147483648",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "1.0",
    "1.5",
    "-0.0",
    "0.5",
    "-0.25",
    "1e3",
    "1E5",
    "1e10",
    "1e400",
    "-1e400",
    "123456.5",
    "86400000",
    "86399999",
    "19000",
    "1700000000123",
    "007",
    "01.5",
    "1.10",
    "12.75",
    "1e0",
];
const LITERALS: [&str; 17] = [
    "True",
    "nul",
    "truex",
    " true",
    "true ",
    "2020-13-45",
    "1582-10-10",
    "25:61:61.999Z",
    "2020-1-2xx",
    "2020-01-02T03:04:05.678Z",
    "2020-01-02T03\\:04\\:05.678Z",
    "1969-12-31T23:59:59.999Z",
    "2020--1-02",
    "+5",
    "[1,",
    "{a:1}",
    "[1 2]",
];

/// Makes cases.
pub(super) struct Generator {
    rng: Rng,
    count: usize,
    seed: u64,
}

impl Generator {
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: Rng::with_seed(seed), count: 0, seed }
    }

    fn one_of<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.rng.usize(..of.len())]
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.u32(..100) < percent
    }

    /// A case without answers.
    pub(super) fn case(&mut self) -> Json {
        self.count += 1;
        let (theme, (config, values)) = match self.rng.u32(..10) {
            0..4 => ("schema", self.schemas()),
            4..6 => ("plain", self.plain()),
            6 => ("numbers", self.numbers()),
            7 => ("text", self.texts()),
            _ => ("headers", self.headers()),
        };
        let input: Vec<Json> =
            values.into_iter().enumerate().map(|(offset, value)| self.record(offset, value)).collect();
        json!({"name": format!("seed {}, case {}", self.seed, self.count), "theme": theme, "config": config, "input": input})
    }

    fn record(&mut self, offset: usize, value: Option<Vec<u8>>) -> Json {
        let encode = |bytes: Vec<u8>| BASE64_STANDARD.encode(bytes);
        let headers: Vec<Json> = (0..self.rng.usize(..3))
            .map(|_| {
                let value = self.literal(0).into_bytes();
                let value = if self.chance(10) { self.damaged(value) } else { value };
                json!({"key": self.one_of(&["h", "k", "é"]), "value": encode(value)})
            })
            .collect();
        let timestamp = if self.chance(80) { json!(1_700_000_000_123_i64) } else { Json::Null };
        json!({"topic": self.one_of(&["orders", "t"]), "partition": self.rng.u32(..4), "offset": offset,
            "timestamp": timestamp, "timestampType": "CreateTime", "key": Json::Null, "value": value.map(encode),
            "headers": headers})
    }

    fn json_converter(&mut self, key: &str, envelope: Option<bool>, config: &mut Map<String, Json>) -> bool {
        let envelope = envelope.unwrap_or_else(|| self.chance(60));
        config.insert(key.into(), JSON.into());
        config.insert(format!("{key}.schemas.enable"), envelope.to_string().into());
        if self.chance(20) {
            config.insert(format!("{key}.decimal.format"), "NUMERIC".into());
        }
        if self.chance(25) {
            let replaced = self.chance(50).to_string();
            config.insert(format!("{key}.replace.null.with.default"), replaced.into());
        }
        envelope
    }

    fn outputs(&mut self, config: &mut Map<String, Json>) {
        match self.rng.u32(..10) {
            0..4 => {}
            4..8 => {
                self.json_converter("output.value.converter", None, config);
            }
            8 => drop(config.insert("output.value.converter".into(), STRING.into())),
            _ => drop(config.insert("output.value.converter".into(), self.number_class().0.into())),
        }
    }

    fn number_class(&mut self) -> (String, usize) {
        let (name, width) = NUMBERS[self.rng.usize(..NUMBERS.len())];
        (format!("org.apache.kafka.connect.converters.{name}Converter"), width)
    }

    fn transform(&mut self, config: &mut Map<String, Json>) {
        const STEPS: [(&str, &[(&str, &str)]); 15] = [
            ("Cast$Value", &[("spec", "a:string,b:int8,id:boolean")]),
            ("Cast$Value", &[("spec", "int32")]),
            ("ExtractField$Value", &[("field", "a")]),
            ("Flatten$Value", &[("delimiter", "_")]),
            ("HoistField$Value", &[("field", "inside")]),
            ("HeaderFrom$Value", &[("fields", "a"), ("headers", "from"), ("operation", "move")]),
            ("SetSchemaMetadata$Value", &[("schema.name", "a.B"), ("schema.version", "3")]),
            ("TimestampConverter$Value", &[("field", "a"), ("target.type", "unix")]),
            ("InsertField$Value", &[("static.field", "x"), ("static.value", "y"), ("topic.field", "t!")]),
            (
                "InsertField$Value",
                &[("timestamp.field", "ts"), ("offset.field", "o"), ("partition.field", "p")],
            ),
            ("ReplaceField$Value", &[("exclude", "a"), ("renames", "id:ID")]),
            ("ReplaceField$Value", &[("include", "a,b,id")]),
            ("MaskField$Value", &[("fields", "a,id")]),
            ("MaskField$Value", &[("fields", "b"), ("replacement", "12")]),
            ("RegexRouter", &[("regex", "(o)(.*)"), ("replacement", "$2-$1")]),
        ];
        let (class, settings) = STEPS[self.rng.usize(..STEPS.len())];
        config.insert("transforms".into(), "s".into());
        config.insert("transforms.s.type".into(), format!("{TRANSFORMS}{class}").into());
        for (key, value) in settings {
            config.insert(format!("transforms.s.{key}"), (*value).into());
        }
    }

    fn schemas(&mut self) -> (Map<String, Json>, Vec<Option<Vec<u8>>>) {
        let mut config = Map::new();
        config.insert("key.converter".into(), STRING.into());
        self.json_converter("value.converter", Some(true), &mut config);
        self.outputs(&mut config);
        if self.chance(30) {
            self.transform(&mut config);
        }
        let schemas: Vec<Json> = (0..self.rng.usize(1..3)).map(|_| self.schema(0)).collect();
        let values = (0..6)
            .map(|_| {
                let schema = schemas[self.rng.usize(..schemas.len())].clone();
                let message =
                    format!("{{\"schema\":{schema},\"payload\":{}}}", self.payload(&schema)).into_bytes();
                Some(if self.chance(10) { self.damaged(message) } else { message })
            })
            .collect();
        (config, values)
    }

    fn plain(&mut self) -> (Map<String, Json>, Vec<Option<Vec<u8>>>) {
        let mut config = Map::new();
        config.insert("key.converter".into(), STRING.into());
        self.json_converter("value.converter", Some(false), &mut config);
        self.outputs(&mut config);
        if self.chance(30) {
            self.transform(&mut config);
        }
        let values = (0..6)
            .map(|_| {
                let message = self.any(0).into_bytes();
                Some(if self.chance(15) { self.damaged(message) } else { message })
            })
            .collect();
        (config, values)
    }

    fn numbers(&mut self) -> (Map<String, Json>, Vec<Option<Vec<u8>>>) {
        let (class, width) = self.number_class();
        let mut config = Map::new();
        config.insert("key.converter".into(), STRING.into());
        config.insert("value.converter".into(), class.into());
        // no text of floating-point numbers: their digits are not the same in every Java
        config.insert("output.value.converter".into(), self.number_class().0.into());
        let values = (0..6)
            .map(|_| {
                let width = if self.chance(85) { width } else { self.rng.usize(..9) };
                // bytes that make whole numbers of floats, or none
                let bytes = match width {
                    4 => 3.5_f32.to_be_bytes().to_vec(),
                    8 => 12_i64.to_be_bytes().to_vec(),
                    width => (0..width).map(|_| self.rng.u8(..3)).collect(),
                };
                (!self.chance(5)).then_some(bytes)
            })
            .collect();
        (config, values)
    }

    fn texts(&mut self) -> (Map<String, Json>, Vec<Option<Vec<u8>>>) {
        const CHARSETS: [&str; 7] =
            ["UTF-8", "ISO-8859-1", "US-ASCII", "UTF-16", "UTF-16LE", "windows-1252", "KOI8-R"];
        let mut config = Map::new();
        config.insert("key.converter".into(), STRING.into());
        for key in ["value.converter", "output.value.converter"] {
            config.insert(key.into(), STRING.into());
            config.insert(format!("{key}.converter.encoding"), self.one_of(&CHARSETS).into());
        }
        let values = (0..6)
            .map(|_| {
                let text = self.one_of(&TEXTS).as_bytes().to_vec();
                Some(if self.chance(40) { self.damaged(text) } else { text })
            })
            .collect();
        (config, values)
    }

    fn headers(&mut self) -> (Map<String, Json>, Vec<Option<Vec<u8>>>) {
        let mut config = Map::new();
        config.insert("key.converter".into(), STRING.into());
        config.insert("value.converter".into(), STRING.into());
        if self.chance(20) {
            config.insert("header.converter".into(), self.one_of(&[STRING, BYTES, SIMPLE]).into());
        } else {
            config.insert("header.converter".into(), SIMPLE.into());
        }
        if self.chance(60) {
            self.json_converter("output.header.converter", None, &mut config);
        }
        (config, vec![Some(b"v".to_vec()); 6])
    }

    fn text(&mut self) -> String {
        json!(self.one_of(&TEXTS)).to_string()
    }

    fn name(&mut self) -> String {
        json!(self.one_of(&NAMES)).to_string()
    }

    fn list(&mut self, most: usize, depth: u32, mut item: impl FnMut(&mut Self, u32) -> String) -> String {
        let items: Vec<String> = (0..self.rng.usize(..=most)).map(|_| item(self, depth + 1)).collect();
        items.join(",")
    }

    /// JSON of any shape.
    fn any(&mut self, depth: u32) -> String {
        match self.rng.u32(..10) {
            0..3 => self.one_of(&TOKENS).to_owned(),
            3..5 => self.text(),
            5 => self.one_of(&["true", "false", "null"]).to_owned(),
            6..8 if depth < 3 => format!("[{}]", self.list(3, depth, Self::any)),
            8.. if depth < 3 => {
                let member = |this: &mut Self, depth| format!("{}:{}", this.name(), this.any(depth));
                format!("{{{}}}", self.list(4, depth, member))
            }
            _ => "7".to_owned(),
        }
    }

    /// A header as text.
    fn literal(&mut self, depth: u32) -> String {
        match self.rng.u32(..10) {
            0..3 => self.one_of(&TOKENS).to_owned(),
            3..5 => self.one_of(&LITERALS).to_owned(),
            5 => self.one_of(&TEXTS).to_owned(),
            6..8 if depth < 3 => format!("[{}]", self.list(3, depth, Self::literal)),
            8 if depth < 3 => {
                let member =
                    |this: &mut Self, depth| format!("{}:{}", this.literal(depth), this.literal(depth));
                format!("{{{}}}", self.list(3, depth, member))
            }
            _ => self.text(),
        }
    }

    fn damaged(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..self.rng.usize(1..3) {
            let at = self.rng.usize(..=bytes.len());
            let new = b"{}[]\":,019.eE-ntf \\\x80\xc3\xff\x01"[self.rng.usize(..23)];
            match self.rng.u32(..4) {
                0 => bytes.truncate(at),
                1 if at < bytes.len() => bytes[at] = new,
                2 if at < bytes.len() => drop(bytes.remove(at)),
                _ => bytes.insert(at, new),
            }
        }
        bytes
    }

    fn schema(&mut self, depth: u32) -> Json {
        const PRIMITIVES: [&str; 9] =
            ["boolean", "int8", "int16", "int32", "int64", "float", "double", "bytes", "string"];
        const LOGICAL: [(&str, &str); 4] =
            [("Decimal", "bytes"), ("Date", "int32"), ("Time", "int32"), ("Timestamp", "int64")];
        let mut schema = match self.rng.u32(..10) {
            0..4 => json!({"type": self.one_of(&PRIMITIVES)}),
            4 => {
                let (name, kind) = LOGICAL[self.rng.usize(..4)];
                let name = format!("org.apache.kafka.connect.data.{name}");
                json!({"type": kind, "name": name, "version": 1, "parameters": {"scale": "2"}})
            }
            5 if depth < 3 => json!({"type": "array", "items": self.schema(depth + 1)}),
            6 if depth < 3 => {
                let keys = json!({"type": self.one_of(&["string", "string", "int32"])});
                json!({"type": "map", "keys": keys, "values": self.schema(depth + 1)})
            }
            7.. if depth < 3 => {
                let mut names = NAMES.to_vec();
                self.rng.shuffle(&mut names);
                names.truncate(self.rng.usize(..5));
                let mut field = |name: &str| {
                    let mut field = self.schema(depth + 1);
                    field["field"] = name.into();
                    field
                };
                json!({"type": "struct", "fields": names.into_iter().map(&mut field).collect::<Vec<_>>()})
            }
            _ => json!({"type": "int32"}),
        };
        schema["optional"] = self.chance(50).into();
        if self.chance(10) {
            schema["doc"] = "what it is".into();
        }
        // the order of a map with other keys than text would show
        if self.chance(12)
            && !schema.to_string().contains(r#""keys":{"type":"int32"}"#)
            && let Ok(default) = serde_json::from_str(&self.payload(&schema))
        {
            schema["default"] = default;
        }
        schema
    }

    /// What mostly fits the schema.
    fn payload(&mut self, schema: &Json) -> String {
        if (schema["optional"] == true && self.chance(15)) || self.chance(1) {
            return "null".to_owned();
        }
        if self.chance(4) {
            return self.any(2);
        }
        let name = schema["name"].as_str().and_then(|name| name.rsplit('.').next()).unwrap_or_default();
        match (schema["type"].as_str().unwrap_or_default(), name) {
            (_, "Decimal") => {
                self.one_of(&["\"AQ==\"", "\"Jw8=\"", "\"/w==\"", "\"AAB/\"", "1.25", "7"]).to_owned()
            }
            (_, "Date") => self.one_of(&["0", "19000", "-1", "-141428", "2147483647", "1.0"]).to_owned(),
            (_, "Time") => self.one_of(&["0", "86399999", "86400000", "-1"]).to_owned(),
            (_, "Timestamp") => self.one_of(&["0", "-1", "1700000000123", "-62135596800000"]).to_owned(),
            ("boolean", _) => self.chance(50).to_string(),
            ("string", _) => self.text(),
            ("bytes", _) => {
                self.one_of(&["\"AQID\"", "\"\"", "\"AQI=\"", "\"AQID\\n\"", "\"AQ\""]).to_owned()
            }
            ("array", _) => format!("[{}]", self.list(3, 0, |this, _| this.payload(&schema["items"]))),
            ("map", _) if schema["keys"]["type"] == "string" => {
                let entry =
                    |this: &mut Self, _| format!("{}:{}", this.name(), this.payload(&schema["values"]));
                format!("{{{}}}", self.list(3, 0, entry))
            }
            ("map", _) => {
                let entry = |this: &mut Self, _| {
                    format!("[{},{}]", this.rng.u8(..4), this.payload(&schema["values"]))
                };
                format!("[{}]", self.list(3, 0, entry))
            }
            ("struct", _) => {
                let mut members = Vec::new();
                for field in schema["fields"].as_array().into_iter().flatten() {
                    if !self.chance(7) {
                        members.push(format!("{}:{}", field["field"], self.payload(field)));
                    }
                }
                if self.chance(15) {
                    self.rng.shuffle(&mut members);
                }
                format!("{{{}}}", members.join(","))
            }
            _ => self.one_of(&TOKENS).to_owned(),
        }
    }
}
