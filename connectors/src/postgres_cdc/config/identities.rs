//! `replica.identity.autoset.values`: `schema.table:IDENTITY`, separated by commas.

use aqueduct_engine::connector::ConnectError;

use super::super::filter::{TableMatcher, lists};
use super::wrong;

const KEY: &str = "replica.identity.autoset.values";

/// What the server logs of a row that is changed or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::postgres_cdc) enum ReplicaIdentity {
    Default,
    Nothing,
    Full,
    /// The columns of a unique index.
    Index(String),
}

/// Tables and the identities that they get at the start.
pub(in crate::postgres_cdc) type Identities = Vec<(TableMatcher, ReplicaIdentity)>;

/// Reads the list.
///
/// # Errors
/// A part is not a regular expression of tables, a colon and an identity.
pub(super) fn identities(list: &str) -> Result<Identities, ConnectError> {
    lists(list)
        .iter()
        .map(|part| {
            let expected =
                || wrong(KEY, part, "expected schema.table:DEFAULT, :NOTHING, :FULL or :INDEX name");
            let (table, identity) = part.rsplit_once(':').ok_or_else(expected)?;
            let (kind, index) = identity.trim().split_once(' ').unwrap_or((identity.trim(), ""));
            let identity = match (kind.to_ascii_uppercase().as_str(), index.trim()) {
                ("DEFAULT", "") => ReplicaIdentity::Default,
                ("NOTHING", "") => ReplicaIdentity::Nothing,
                ("FULL", "") => ReplicaIdentity::Full,
                ("INDEX", name) if !name.is_empty() => ReplicaIdentity::Index(name.to_owned()),
                _ => return Err(expected()),
            };
            Ok((TableMatcher::new(KEY, table)?, identity))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_their_identities() {
        let found = identities("public.a:full, s.(b|c):INDEX by_name,x.y:DEFAULT").unwrap();
        let kinds: Vec<_> = found.iter().map(|(_, identity)| identity.clone()).collect();
        let index = ReplicaIdentity::Index("by_name".to_owned());
        assert_eq!(kinds, [ReplicaIdentity::Full, index, ReplicaIdentity::Default]);
        assert!(found[1].0.matches("s.c") && !found[1].0.matches("s.d"));
        for bad in ["public.a", "public.a:", "public.a:ALL", "public.a:INDEX", "(:FULL", "a:FULL index"] {
            assert!(identities(bad).is_err(), "{bad}");
        }
    }
}
