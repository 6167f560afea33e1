//! Whether messages written for one schema can be read by another: a check before somebody else's schema is named.

use super::model::{Label, Scalar, WireType};
use super::types::{FieldType, TypeRef, Types};

/// Each side's types.
pub(super) struct Sides<'a> {
    pub(super) written: &'a Types,
    pub(super) target: &'a Types,
}

type Result = std::result::Result<(), String>;

impl Sides<'_> {
    /// Compares the messages of that name and all that they hold.
    pub(super) fn check(&self, written: usize, target: usize) -> Result {
        let mut pairs = vec![(written, target)];
        let mut next = 0;
        while let Some((written, target)) = pairs.get(next).copied() {
            next += 1;
            let (message, wanted) = (&self.written.messages[written], &self.target.messages[target]);
            for field in &message.fields {
                let Some(other) = wanted.fields.iter().find(|other| other.number == field.number) else {
                    continue;
                };
                if let Some(pair) = self.fits(&message.full_name, field, other)?
                    && !pairs.contains(&pair)
                {
                    pairs.push(pair);
                }
            }
            let missing = wanted.fields.iter().find(|wanted| {
                wanted.label == Label::Required
                    && !message.fields.iter().any(|field| field.number == wanted.number)
            });
            if let Some(field) = missing {
                return Err(format!(
                    "field {} of {} is required, but not written",
                    field.name, wanted.full_name
                ));
            }
        }
        Ok(())
    }

    /// A pair of messages to compare, if the fields are such.
    fn fits(
        &self,
        message: &str,
        field: &FieldType,
        other: &FieldType,
    ) -> std::result::Result<Option<(usize, usize)>, String> {
        let differ = || Err(format!("field {} of {message}: the types differ", field.name));
        match (field.kind, other.kind) {
            (TypeRef::Message(one), TypeRef::Message(two)) => Ok(Some((one, two))),
            (TypeRef::Scalar(one), TypeRef::Scalar(two)) if group(one) == group(two) => Ok(None),
            (TypeRef::Enum(_), TypeRef::Enum(_)) => Ok(None),
            (TypeRef::Enum(_), TypeRef::Scalar(scalar)) | (TypeRef::Scalar(scalar), TypeRef::Enum(_)) => {
                if group(scalar) == group(Scalar::Int32) {
                    Ok(None)
                } else {
                    differ()
                }
            }
            _ => differ(),
        }
    }
}

/// Scalars of one group read each other's values.
const fn group(scalar: Scalar) -> (WireType, u8) {
    let kind = match scalar {
        Scalar::Sint32 | Scalar::Sint64 | Scalar::Float | Scalar::Double => 1,
        _ => 0,
    };
    (scalar.wire_type(), kind)
}
