//! Geometric types, PostGIS included: structs with well-known binary (WKB), as Debezium 3.7 gives them.

use aqueduct_engine::data::{Batch, Value};

use super::reader::Reader;
use super::text::{put_bytes, read_hex};

/// Which type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Point,
    Box,
    LineSegment,
    Path,
    Polygon,
    Circle,
    Line,
    /// PostGIS: extended WKB.
    PostGis,
}

/// WKB: little-endian, and the types' codes.
const LITTLE_ENDIAN: u8 = 1;
const WKB_POINT: u32 = 1;
const WKB_LINE: u32 = 2;
const WKB_POLYGON: u32 = 3;
/// Extended WKB: a reference system follows.
const EWKB_SRID: u32 = 0x2000_0000;

struct Numbers {
    values: Vec<f64>,
    closed: bool,
}

/// A value in binary form.
pub(super) fn from_binary(batch: &mut Batch, shape: Shape, bytes: &[u8]) -> Option<Value> {
    let mut reader = Reader(bytes);
    let mut closed = true;
    match shape {
        Shape::PostGis => return post_gis(batch, bytes),
        Shape::Path => {
            closed = reader.u8()? != 0;
            reader.i32()?;
        }
        Shape::Polygon => {
            reader.i32()?;
        }
        _ => {}
    }
    let mut values = Vec::with_capacity(reader.0.len() / 8);
    while !reader.is_empty() {
        values.push(reader.f64()?);
    }
    put(batch, shape, &Numbers { values, closed })
}

/// A value in text form.
pub(super) fn from_text(batch: &mut Batch, shape: Shape, text: &str) -> Option<Value> {
    if shape == Shape::PostGis {
        let mut bytes = Vec::with_capacity(text.len() / 2);
        read_hex(text.as_bytes(), &mut bytes)?;
        return post_gis(batch, &bytes);
    }
    let brackets = |char: char| matches!(char, '(' | ')' | '[' | ']' | '<' | '>' | '{' | '}' | ',');
    let numbers = text.split(brackets).filter(|part| !part.is_empty());
    let values = numbers.map(|number| number.parse().ok()).collect::<Option<Vec<f64>>>()?;
    put(batch, shape, &Numbers { values, closed: text.starts_with('(') })
}

fn put(batch: &mut Batch, shape: Shape, numbers: &Numbers) -> Option<Value> {
    let values = &numbers.values;
    match (shape, values.as_slice()) {
        (Shape::Point, &[x, y]) => Some(point(batch, x, y)),
        (Shape::Circle, &[x, y, radius]) => {
            let center = point(batch, x, y);
            Some(Value::Struct(batch.push_values(&[center, Value::Float64(radius)])))
        }
        (Shape::Line, &[a, b, c]) => Some(Value::Struct(batch.push_values(&[a, b, c].map(Value::Float64)))),
        (Shape::Box, &[x1, y1, x2, y2]) => {
            let ring = [x1, y1, x1, y2, x2, y2, x2, y1, x1, y1];
            Some(geometry(batch, WKB_POLYGON, &ring, "box", None))
        }
        (Shape::LineSegment, points @ [_, _, _, _]) => Some(geometry(batch, WKB_LINE, points, "lseg", None)),
        (Shape::Path, points) if points.len().is_multiple_of(2) => {
            Some(geometry(batch, WKB_LINE, points, "path", Some(numbers.closed)))
        }
        (Shape::Polygon, points @ [x, y, ..]) if points.len().is_multiple_of(2) => {
            let ring = [points, &[*x, *y]].concat();
            Some(geometry(batch, WKB_POLYGON, &ring, "polygon", None))
        }
        _ => None,
    }
}

fn point(batch: &mut Batch, x: f64, y: f64) -> Value {
    let wkb = put_bytes(batch, |out| {
        out.push(LITTLE_ENDIAN);
        out.extend_from_slice(&WKB_POINT.to_le_bytes());
        out.extend_from_slice(&x.to_le_bytes());
        out.extend_from_slice(&y.to_le_bytes());
    });
    Value::Struct(batch.push_values(&[Value::Float64(x), Value::Float64(y), wkb, Value::Null]))
}

fn geometry(batch: &mut Batch, code: u32, points: &[f64], kind: &str, closed: Option<bool>) -> Value {
    let wkb = put_bytes(batch, |out| {
        out.push(LITTLE_ENDIAN);
        out.extend_from_slice(&code.to_le_bytes());
        if code == WKB_POLYGON {
            out.extend_from_slice(&1_u32.to_le_bytes());
        }
        out.extend_from_slice(&(points.len() as u32 / 2).to_le_bytes());
        for coordinate in points {
            out.extend_from_slice(&coordinate.to_le_bytes());
        }
    });
    let mut entries = vec![Value::String(batch.put_str("type")), Value::String(batch.put_str(kind))];
    if let Some(closed) = closed {
        entries.push(Value::String(batch.put_str("closed")));
        entries.push(Value::String(batch.put_str(if closed { "true" } else { "false" })));
    }
    let mut range = batch.push_values(&entries);
    range.len /= 2;
    Value::Struct(batch.push_values(&[wkb, Value::Null, Value::Map(range)]))
}

/// Extended WKB split into plain WKB and the reference system.
fn post_gis(batch: &mut Batch, bytes: &[u8]) -> Option<Value> {
    let (&order, rest) = bytes.split_first()?;
    let (code, rest) = rest.split_first_chunk::<4>()?;
    let number = |bytes: [u8; 4]| {
        if order == LITTLE_ENDIAN { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) }
    };
    let code = number(*code);
    let (srid, content) = if code & EWKB_SRID == 0 {
        (Value::Null, rest)
    } else {
        let (srid, rest) = rest.split_first_chunk::<4>()?;
        (Value::Int32(number(*srid) as i32), rest)
    };
    let plain = code & !EWKB_SRID;
    let wkb = put_bytes(batch, |out| {
        out.push(order);
        out.extend_from_slice(&if order == LITTLE_ENDIAN {
            plain.to_le_bytes()
        } else {
            plain.to_be_bytes()
        });
        out.extend_from_slice(content);
    });
    Some(Value::Struct(batch.push_values(&[wkb, srid, Value::Null])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let cases: &[(Shape, &str, &[u8], &[f64])] = &[
            (Shape::Point, "(1,2)", &[], &[1.0, 2.0]),
            (Shape::Box, "(3,4),(1,2)", &[], &[3.0, 4.0, 1.0, 2.0]),
            (Shape::LineSegment, "[(1,2),(3,4)]", &[], &[1.0, 2.0, 3.0, 4.0]),
            (Shape::Path, "((1,2),(3,4))", &[1, 0, 0, 0, 2], &[1.0, 2.0, 3.0, 4.0]),
            (Shape::Path, "[(1,2),(3,4)]", &[0, 0, 0, 0, 2], &[1.0, 2.0, 3.0, 4.0]),
            (Shape::Polygon, "((1,2),(3,4),(5,6.5))", &[0, 0, 0, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.5]),
            (Shape::Circle, "<(1,2),3>", &[], &[1.0, 2.0, 3.0]),
            (Shape::Line, "{1,2,3e10}", &[], &[1.0, 2.0, 3e10]),
        ];
        for (shape, text, head, numbers) in cases {
            let mut binary = head.to_vec();
            binary.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
            let (mut left, mut right) = (Batch::default(), Batch::default());
            let (a, b) = (from_text(&mut left, *shape, text), from_binary(&mut right, *shape, &binary));
            assert!(a.is_some(), "{shape:?}");
            assert_eq!((a, &left.values, &left.arena), (b, &right.values, &right.arena), "{shape:?}");
        }
        assert_eq!(from_text(&mut Batch::default(), Shape::Point, "(1,2,3)"), None);
        assert_eq!(from_binary(&mut Batch::default(), Shape::Point, &[1, 2, 3]), None);
    }

    #[test]
    fn reference_systems() {
        let mut batch = Batch::default();
        let value =
            from_text(&mut batch, Shape::PostGis, "0101000020E6100000000000000000F03F0000000000000040")
                .unwrap();
        let Value::Struct(range) = value else { panic!() };
        let [Value::Bytes(wkb), Value::Int32(4326), Value::Null] = *batch.items(range) else { panic!() };
        assert_eq!(batch.bytes(wkb)[..5], [1, 1, 0, 0, 0]);
        assert_eq!(from_text(&mut batch, Shape::PostGis, "01"), None);
    }
}
