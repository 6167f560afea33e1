//! What the PostgreSQL connectors share: how to reach a server, TLS as libpq's `sslmode` says, and a connection of our own for
//! replication and COPY, which gives what the server sends as large blocks without a copy per row.

mod auth;
mod copy;
mod describe;
mod error;
mod flight;
mod settings;
mod socket;
mod stream;
mod tls;
mod wire;

pub(crate) use copy::{copy_rows, segment};
pub(crate) use describe::ResultColumn;
pub(crate) use error::{PgError, ServerError};
pub(crate) use flight::{Flight, Outcome, sized_parameter};
pub(crate) use settings::{ConnectionSettings, KeyNames, SslMode, SslSettings};
pub(crate) use wire::{Block, BlockEnd, Session, Wire};

use std::fmt::Write as _;

/// An identifier in double quotes.
pub(crate) fn quote_ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in single quotes, whatever `standard_conforming_strings` says.
pub(crate) fn quote_literal(text: &str) -> String {
    let escape = if text.contains('\\') { " E" } else { "" };
    format!("{escape}'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// A log sequence number as PostgreSQL prints it.
pub(crate) fn lsn_text(lsn: u64) -> String {
    let mut text = String::with_capacity(17);
    let _ = write!(text, "{:X}/{:X}", lsn >> 32, lsn & 0xFFFF_FFFF);
    text
}

/// Reads `X/Y`.
pub(crate) fn parse_lsn(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    let part = |part: &str| u32::from_str_radix(part, 16).ok().map(u64::from);
    Some((part(high)? << 32) | part(low)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lsns_read_what_they_print() {
        for lsn in [0, 1, 0x16_B374_D848, u64::MAX] {
            assert_eq!(parse_lsn(&lsn_text(lsn)), Some(lsn));
        }
        assert_eq!(lsn_text(0x16_B374_D848), "16/B374D848");
        for bad in ["", "1", "1/", "/1", "1/2/3", "1/123456789", "g/1"] {
            assert_eq!(parse_lsn(bad), None, "{bad}");
        }
    }

    #[test]
    fn quotes() {
        assert_eq!(quote_ident("a\"b"), "\"a\"\"b\"");
        assert_eq!(quote_literal("it's"), "'it''s'");
        assert_eq!(quote_literal("a\\'"), " E'a\\\\'''");
    }
}
