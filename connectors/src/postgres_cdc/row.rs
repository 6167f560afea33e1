//! Rows from tuples: of the stream and of binary COPY, into the values of a batch.

use aqueduct_engine::connector::ConnectError;
use aqueduct_engine::data::{Batch, Range32, Span, Value};

use super::pgoutput::TupleCell;
use super::table::TablePlan;
use super::types::{Cell, ColumnPlan, Format};

/// A buffer whose content is a segment of the batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) id: u16,
}

impl<'a> Segment<'a> {
    fn cell(self, format: Format, start: u32, end: u32) -> Cell<'a> {
        let bytes = self.bytes.get(start as usize..end as usize).unwrap_or_default();
        Cell { format, bytes, span: Span { segment: self.id, offset: start, len: end - start } }
    }
}

fn unreadable(plan: &TablePlan, error: impl std::error::Error + Send + Sync + 'static) -> ConnectError {
    ConnectError::fatal(format!(
        "table {}.{}: a row cannot be read; leave the column out (column.exclude.list) to go on",
        plan.schema, plan.table
    ))
    .caused_by(error)
}

/// Makes the row of a tuple. `base` is where the message begins in the segment; what was not sent comes from `old`, the row
/// before, or is the placeholder.
pub(super) fn of_tuple(
    batch: &mut Batch,
    plan: &TablePlan,
    segment: Segment<'_>,
    base: u32,
    cells: &[TupleCell],
    old: Option<Value>,
    placeholder: &[u8],
) -> Result<Value, ConnectError> {
    let range = reserve(batch, plan);
    for (place, field) in plan.columns.iter().enumerate() {
        let Some(field) = *field else { continue };
        let column = &plan.fields[field];
        let value = match cells.get(place) {
            Some(TupleCell::Value { format, start, end }) => column
                .decode(batch, segment.cell(*format, base + start, base + end))
                .map_err(|error| unreadable(plan, error))?,
            Some(TupleCell::Unchanged) => match old {
                Some(Value::Struct(old)) => batch.items(old).get(field).copied().unwrap_or_default(),
                _ => column.unavailable(batch, placeholder),
            },
            Some(TupleCell::Null) | None => column.null(batch),
        };
        set(batch, range, field, value);
    }
    Ok(Value::Struct(range))
}

fn reserve(batch: &mut Batch, plan: &TablePlan) -> Range32 {
    let start = batch.values.len();
    batch.values.resize(start + plan.fields.len(), Value::Null);
    Range32 { start: start as u32, len: plan.fields.len() as u32 }
}

fn set(batch: &mut Batch, range: Range32, field: usize, value: Value) {
    if let Some(slot) = batch.values.get_mut(range.start as usize + field) {
        *slot = value;
    }
}

/// A row of a binary COPY that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the row has not the {0} columns that were asked for")]
struct Misshapen(usize);

/// Makes the row of a binary COPY, whose columns are the plan's fields and then `more`. `start` to `end` is the row in the segment;
/// gives where the further columns begin.
pub(super) fn of_copy(
    batch: &mut Batch,
    plan: &TablePlan,
    segment: Segment<'_>,
    (start, end): (u32, u32),
    more: usize,
) -> Result<(Value, u32), ConnectError> {
    let misshapen = || unreadable(plan, Misshapen(plan.fields.len() + more));
    let number = |at: u32| {
        segment
            .bytes
            .get(at as usize..at as usize + 4)
            .and_then(|word| word.try_into().ok())
            .map(i32::from_be_bytes)
    };
    let count = segment
        .bytes
        .get(start as usize..start as usize + 2)
        .map(|word| u16::from_be_bytes([word[0], word[1]]));
    if count.map(usize::from) != Some(plan.fields.len() + more) {
        return Err(misshapen());
    }
    let range = reserve(batch, plan);
    let mut at = start + 2;
    for (field, column) in plan.fields.iter().enumerate() {
        let length = number(at).ok_or_else(misshapen)?;
        at += 4;
        let value = if length < 0 {
            column.null(batch)
        } else {
            let after = at.checked_add(length as u32).filter(|after| *after <= end).ok_or_else(misshapen)?;
            let value = decode(batch, column, segment.cell(Format::Binary, at, after), plan)?;
            at = after;
            value
        };
        set(batch, range, field, value);
    }
    Ok((Value::Struct(range), at))
}

/// The last columns of a row of a binary COPY, which are texts; none if one of them is missing.
pub(super) fn trailing_texts(bytes: &[u8], from: u32, end: u32) -> Option<Vec<String>> {
    let mut rest = bytes.get(from as usize..end as usize)?;
    let mut texts = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
        let (text, after) = after.split_at_checked(length)?;
        texts.push(std::str::from_utf8(text).ok()?.to_owned());
        rest = after;
    }
    (rest.is_empty() && !texts.is_empty()).then_some(texts)
}

fn decode(
    batch: &mut Batch,
    column: &ColumnPlan,
    cell: Cell<'_>,
    plan: &TablePlan,
) -> Result<Value, ConnectError> {
    column.decode(batch, cell).map_err(|error| unreadable(plan, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_at_the_end_of_a_row() {
        let mut row = vec![9, 9];
        for text in ["5", "", "a b"] {
            row.extend((text.len() as u32).to_be_bytes());
            row.extend(text.as_bytes());
        }
        let end = row.len() as u32;
        assert_eq!(trailing_texts(&row, 2, end).unwrap(), ["5", "", "a b"]);
        assert_eq!(trailing_texts(&row, 2, end - 1), None);
        assert_eq!(trailing_texts(&row, end, end), None);
        assert_eq!(trailing_texts(&[0xFF; 4], 0, 4), None, "NULL is no key");
        assert_eq!(trailing_texts(&row, 2, end + 1), None);
    }
}
