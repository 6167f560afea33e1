//! CRC-32C, the checksum of record batches.

/// CRC-32C (Castagnoli, also called ISCSI) of `bytes`.
///
/// Uses the processor's carry-less multiplication or CRC instructions where there are any.
#[inline]
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// CRC-32 (ISO-HDLC), the checksum of gzip's trailer.
#[inline]
#[must_use]
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iso_hdlc(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_values_of_the_catalogue() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32c(b""), 0);
    }
}
