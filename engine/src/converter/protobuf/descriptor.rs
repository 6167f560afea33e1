//! `FileDescriptorProto` in Base64: what clients register that have no text, Python's among them.

use base64::Engine as _;

use super::input::{Cursor, Malformed};
use super::model::{Enum, Field, FieldKind, File, Label, Message, Scalar, WireType};

/// Messages within messages.
const MAX_DEPTH: u32 = 64;
/// The number of Confluent's option.
const META: u32 = 1088;

type Result<T> = std::result::Result<T, Malformed>;

/// Reads it; `None` where the text is no such thing.
pub(super) fn parse(text: &str) -> Option<File> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(text.trim()).ok()?;
    file(&bytes).ok().filter(|file| !file.messages.is_empty() || !file.enums.is_empty())
}

#[derive(Clone, Copy)]
enum Part<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl Part<'_> {
    fn text(self) -> String {
        match self {
            Self::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Number(_) => String::new(),
        }
    }

    const fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(_) => &[],
        }
    }

    const fn number(self) -> u64 {
        match self {
            Self::Number(number) => number,
            Self::Bytes(_) => 0,
        }
    }
}

fn each<'a>(bytes: &'a [u8], mut with: impl FnMut(u32, Part<'a>) -> Result<()>) -> Result<()> {
    let mut cursor = Cursor::new(bytes);
    while !cursor.is_at_end() {
        match cursor.tag()? {
            (number, WireType::Varint) => with(number, Part::Number(cursor.varint()?))?,
            (number, WireType::Length) => with(number, Part::Bytes(cursor.delimited()?))?,
            (number, wire) => cursor.skip(number, wire)?,
        }
    }
    Ok(())
}

fn file(bytes: &[u8]) -> Result<File> {
    let mut proto3 = false;
    each(bytes, |number, part| {
        // it comes last, and says how the rest is meant
        proto3 |= number == 12 && part.text() == "proto3";
        Ok(())
    })?;
    let mut file = File { proto3, ..File::default() };
    each(bytes, |number, part| {
        match number {
            2 => file.package = Some(part.text()).filter(|package| !package.is_empty()),
            3 => file.imports.push(part.text()),
            4 => file.messages.push(message(part.bytes(), proto3, 0)?),
            5 => file.enums.push(enumeration(part.bytes())?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(file)
}

fn message(bytes: &[u8], proto3: bool, depth: u32) -> Result<Message> {
    if depth > MAX_DEPTH {
        return Err(Malformed("messages are nested too deeply"));
    }
    let mut found = Message::default();
    each(bytes, |number, part| {
        match number {
            1 => found.name = part.text(),
            2 => found.fields.push(field(part.bytes(), proto3)?),
            3 => found.messages.push(message(part.bytes(), proto3, depth + 1)?),
            4 => found.enums.push(enumeration(part.bytes())?),
            8 => each(part.bytes(), |number, part| {
                if number == 1 {
                    found.oneofs.push(part.text());
                }
                Ok(())
            })?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(found)
}

fn field(bytes: &[u8], proto3: bool) -> Result<Field> {
    let mut found = Field::new("", 0, FieldKind::Group);
    let mut type_name = None;
    let mut optional = false;
    each(bytes, |number, part| {
        match number {
            1 => found.name = part.text(),
            3 => found.number = part.number() as u32,
            4 if part.number() == 2 => found.label = Label::Required,
            4 if part.number() == 3 => found.label = Label::Repeated,
            4 => found.label = Label::Optional,
            5 => {
                if let Some(scalar) = Scalar::by_number(part.number()) {
                    found.kind = FieldKind::Scalar(scalar);
                } else if part.number() != 10 {
                    found.kind = FieldKind::Named(String::new());
                }
            }
            6 => type_name = Some(part.text()),
            7 => found.default = Some(part.text()),
            8 => options(part.bytes(), &mut found)?,
            9 => found.oneof = Some(part.number() as usize),
            17 => optional = part.number() != 0,
            _ => {}
        }
        Ok(())
    })?;
    if let (FieldKind::Named(name), Some(given)) = (&mut found.kind, type_name) {
        *name = given;
    }
    if optional {
        // a oneof of its own stands for the word
        found.oneof = None;
    } else if found.label == Label::Optional && (proto3 || found.oneof.is_some()) {
        // every single field has this label there, whether the word was written or not
        found.label = Label::None;
    }
    Ok(found)
}

fn options(bytes: &[u8], field: &mut Field) -> Result<()> {
    each(bytes, |number, part| {
        match number {
            2 => field.packed = Some(part.number() != 0),
            META => each(part.bytes(), |number, part| {
                if number == 2 {
                    let mut entry = (String::new(), String::new());
                    each(part.bytes(), |number, part| {
                        match number {
                            1 => entry.0 = part.text(),
                            2 => entry.1 = part.text(),
                            _ => {}
                        }
                        Ok(())
                    })?;
                    field.params.push(entry);
                }
                Ok(())
            })?,
            _ => {}
        }
        Ok(())
    })
}

fn enumeration(bytes: &[u8]) -> Result<Enum> {
    let mut found = Enum::default();
    each(bytes, |number, part| {
        match number {
            1 => found.name = part.text(),
            2 => {
                let mut value = (String::new(), 0);
                each(part.bytes(), |number, part| {
                    match number {
                        1 => value.0 = part.text(),
                        2 => value.1 = part.number() as i32,
                        _ => {}
                    }
                    Ok(())
                })?;
                found.values.push(value);
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(found)
}
