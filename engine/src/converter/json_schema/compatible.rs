//! Whether texts written for one JSON Schema fit another: a check before somebody else's schema is written with.
//!
//! Stricter than the registry's own comparison where that would need a proof: what is not seen to fit does not.

use super::documents::{Documents, Place};
use super::model::{self, Criterion, Kind, MAX_DEPTH, Node};

/// Each side's documents.
pub(super) struct Sides<'a> {
    pub(super) written: &'a Documents,
    pub(super) target: &'a Documents,
}

type Result = std::result::Result<(), String>;

impl Sides<'_> {
    pub(super) fn check(&self) -> Result {
        let written = model::parse(self.written.root(), 0)?;
        let target = model::parse(self.target.root(), 0)?;
        let start = Documents::start();
        self.fits((&start, &written), (&start, &target), "#", 0)
    }

    fn fits(&self, written: (&Place, &Node), target: (&Place, &Node), path: &str, depth: u32) -> Result {
        if depth > MAX_DEPTH {
            return Err(format!("{path}: too many schemas inside each other"));
        }
        if let Kind::Reference(reference) = &written.1.kind {
            let (place, json) = self.written.resolve(written.0, reference)?;
            return self.fits((&place, &model::parse(json, 0)?), target, path, depth + 1);
        }
        if let Kind::Reference(reference) = &target.1.kind {
            let (place, json) = self.target.resolve(target.0, reference)?;
            return self.fits(written, (&place, &model::parse(json, 0)?), path, depth + 1);
        }
        match (&written.1.kind, &target.1.kind) {
            (_, Kind::Empty) => Ok(()),
            (Kind::Combined { criterion: Criterion::One | Criterion::Any, parts }, _) => {
                parts.iter().try_for_each(|part| self.fits((written.0, part), target, path, depth + 1))
            }
            (_, Kind::Combined { criterion: Criterion::All, parts }) => {
                parts.iter().try_for_each(|part| self.fits(written, (target.0, part), path, depth + 1))
            }
            (_, Kind::Combined { parts, .. }) => {
                let fits = |part: &Node| self.fits(written, (target.0, part), path, depth + 1).is_ok();
                if parts.iter().any(fits) {
                    return Ok(());
                }
                Err(format!("{path}: none of the alternatives takes what is written"))
            }
            (Kind::Combined { parts, .. }, _) => {
                let fits = |part: &Node| self.fits((written.0, part), target, path, depth + 1).is_ok();
                if parts.iter().any(fits) { Ok(()) } else { Err(format!("{path}: the types differ")) }
            }
            (Kind::Number { integer }, Kind::Number { integer: wanted }) if *integer || !wanted => Ok(()),
            (Kind::Enum(values), Kind::Enum(known)) if values.iter().all(|value| known.contains(value)) => {
                Ok(())
            }
            (Kind::Enum(values), Kind::String) if values.iter().all(serde_json::Value::is_string) => Ok(()),
            (Kind::Array { items }, Kind::Array { items: wanted }) => match (items, wanted) {
                (_, None) => Ok(()),
                (Some(items), Some(wanted)) => {
                    let path = format!("{path}/items");
                    self.fits((written.0, items), (target.0, wanted), &path, depth + 1)
                }
                (None, Some(_)) => Err(format!("{path}: items of any type are written")),
            },
            (Kind::Object(_), Kind::Object(_)) => self.object_fits(written, target, path, depth),
            (one, other) if one == other => Ok(()),
            _ => Err(format!("{path}: the types differ")),
        }
    }

    fn object_fits(
        &self,
        written: (&Place, &Node),
        target: (&Place, &Node),
        path: &str,
        depth: u32,
    ) -> Result {
        let (Kind::Object(object), Kind::Object(wanted)) = (&written.1.kind, &target.1.kind) else {
            return Ok(());
        };
        for (name, property) in &object.properties {
            let path = format!("{path}/properties/{name}");
            let known = wanted.properties.iter().find(|(known, _)| known == name).map(|(_, known)| known);
            match known.or(wanted.additional.as_deref()) {
                Some(known) => self.fits((written.0, property), (target.0, known), &path, depth + 1)?,
                None if wanted.open => {}
                None => return Err(format!("{path}: no such property, and no other ones are allowed")),
            }
        }
        if let (Some(values), Some(known)) = (&object.additional, &wanted.additional) {
            self.fits(
                (written.0, values),
                (target.0, known),
                &format!("{path}/additionalProperties"),
                depth + 1,
            )?;
        }
        // Our own schemas name no property as required, but write all that are not null.
        let missing = wanted.required.iter().find(|name| {
            let written = object.properties.iter().any(|(property, _)| property == *name);
            !written && !object.required.contains(name)
        });
        match missing {
            Some(name) => Err(format!("{path}/properties/{name}: required, but not written")),
            None => Ok(()),
        }
    }
}
