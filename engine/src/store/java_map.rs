//! The one Java object of the JVM worker's offset file: a serialized `HashMap<byte[], byte[]>`.
//!
//! Only the grammar that this object can take is read (Java Object Serialization Stream Protocol, version 5); anything
//! else is an error that names the byte where it was met. Lengths are checked against what is left of the input before
//! memory is reserved, so a hostile file costs no more than its own size.

/// An entry of the map; Java allows a null key and null values (a null value is a tombstone: an offset that was reset).
pub(super) type Entry = (Option<Vec<u8>>, Option<Vec<u8>>);

/// What is wrong with a serialized map, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a serialized HashMap<byte[], byte[]>: {what} at byte {at}")]
pub struct JavaMapError {
    /// Position of the first byte that does not fit.
    pub at: usize,
    /// What was expected or found there.
    pub what: &'static str,
}

const STREAM_HEADER: [u8; 4] = [0xac, 0xed, 0x00, 0x05];
const TC_NULL: u8 = 0x70;
const TC_REFERENCE: u8 = 0x71;
const TC_ARRAY: u8 = 0x75;
const BASE_HANDLE: u32 = 0x7e_0000;
/// Class descriptor of the map (handle 0) and the object (handle 1), up to its two primitive fields.
const MAP_OBJECT: &[u8] = b"\x73\x72\x00\x11java.util.HashMap\x05\x07\xda\xc1\xc3\x16\x60\xd1\x03\x00\x02F\x00\x0aloadFactorI\x00\x09threshold\x78\x70";
const LOAD_FACTOR: [u8; 4] = 0.75f32.to_be_bytes();
/// `TC_BLOCKDATA` of eight bytes: the number of buckets and of entries.
const MAP_BLOCK: [u8; 2] = [0x77, 0x08];
/// Class descriptor of `byte[]`; every array after the first refers to it by its handle.
const BYTE_ARRAY_CLASS: &[u8] = b"\x72\x00\x02[B\xac\xf3\x17\xf8\x06\x08\x54\xe0\x02\x00\x00\x78\x70";
const BYTE_ARRAY_HANDLE: u32 = BASE_HANDLE + 2;
const FIRST_ARRAY_HANDLE: u32 = BASE_HANDLE + 3;
const END_OF_BLOCK: u8 = 0x78;
const MIN_BUCKETS: usize = 16;

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where each array read so far lies, by its handle: Java writes an array it has written before as a reference.
    arrays: Vec<std::ops::Range<usize>>,
    array_class_seen: bool,
}

impl<'a> Reader<'a> {
    fn error<T>(&self, what: &'static str) -> Result<T, JavaMapError> {
        Err(JavaMapError { at: self.at, what })
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], JavaMapError> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.bytes.len());
        let Some(end) = end else { return self.error("the file ends too early") };
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn expect(&mut self, expected: &[u8], what: &'static str) -> Result<(), JavaMapError> {
        let at = self.at;
        if self.take(expected.len())? != expected {
            return Err(JavaMapError { at, what });
        }
        Ok(())
    }

    fn u32(&mut self) -> Result<u32, JavaMapError> {
        let mut word = [0; 4];
        word.copy_from_slice(self.take(4)?);
        Ok(u32::from_be_bytes(word))
    }

    /// An array, a reference to an earlier one, or null.
    fn array(&mut self) -> Result<Option<Vec<u8>>, JavaMapError> {
        match self.take(1)?[0] {
            TC_NULL => Ok(None),
            TC_REFERENCE => {
                let index = self.u32()?.checked_sub(FIRST_ARRAY_HANDLE);
                match index.and_then(|index| self.arrays.get(index as usize)) {
                    Some(range) => Ok(Some(self.bytes[range.clone()].to_vec())),
                    None => self.error("a reference to no earlier array"),
                }
            }
            TC_ARRAY => {
                if self.array_class_seen {
                    self.expect(&[TC_REFERENCE], "an array that is not of bytes")?;
                    self.expect(&BYTE_ARRAY_HANDLE.to_be_bytes(), "an array that is not of bytes")?;
                } else {
                    self.expect(BYTE_ARRAY_CLASS, "an array that is not of bytes")?;
                    self.array_class_seen = true;
                }
                let len = self.u32()? as usize;
                let start = self.at;
                let bytes = self.take(len)?;
                self.arrays.push(start..self.at);
                Ok(Some(bytes.to_vec()))
            }
            _ => self.error("neither a byte array nor null"),
        }
    }
}

/// Reads the map, in the order of the file. Any bucket count and any order are accepted, as by Java.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Entry>, JavaMapError> {
    let mut reader = Reader { bytes, at: 0, arrays: Vec::new(), array_class_seen: false };
    reader.expect(&STREAM_HEADER, "no Java serialization header")?;
    reader.expect(MAP_OBJECT, "an object that is not a java.util.HashMap")?;
    reader.take(8)?; // load factor and threshold: advice to Java, not data
    reader.expect(&MAP_BLOCK, "no map sizes")?;
    reader.u32()?; // buckets
    let size = reader.u32()? as usize;
    // the smallest entry is two nulls: a size beyond that is a lie
    if size > (bytes.len() - reader.at) / 2 {
        return reader.error("more entries announced than the file can hold");
    }
    let mut entries = Vec::with_capacity(size);
    for _ in 0..size {
        let key = reader.array()?;
        entries.push((key, reader.array()?));
    }
    reader.expect(&[END_OF_BLOCK], "no end of the map")?;
    if reader.at != bytes.len() {
        return reader.error("bytes after the map");
    }
    Ok(entries)
}

/// Writes the map as the JVM's `ObjectOutputStream` would, in the order given.
pub(super) fn write<'a>(
    entries: impl ExactSizeIterator<Item = (Option<&'a [u8]>, Option<&'a [u8]>)>,
) -> Vec<u8> {
    let mut buckets = MIN_BUCKETS;
    while entries.len() > buckets / 4 * 3 {
        buckets *= 2;
    }
    let mut out = Vec::with_capacity(256 + entries.len() * 128);
    out.extend_from_slice(&STREAM_HEADER);
    out.extend_from_slice(MAP_OBJECT);
    out.extend_from_slice(&LOAD_FACTOR);
    out.extend_from_slice(&((buckets / 4 * 3) as u32).to_be_bytes());
    out.extend_from_slice(&MAP_BLOCK);
    out.extend_from_slice(&(buckets as u32).to_be_bytes());
    out.extend_from_slice(&(entries.len() as u32).to_be_bytes());
    let mut class_written = false;
    for (key, value) in entries {
        write_array(&mut out, key, &mut class_written);
        write_array(&mut out, value, &mut class_written);
    }
    out.push(END_OF_BLOCK);
    out
}

fn write_array(out: &mut Vec<u8>, array: Option<&[u8]>, class_written: &mut bool) {
    let Some(array) = array else { return out.push(TC_NULL) };
    out.push(TC_ARRAY);
    if *class_written {
        out.push(TC_REFERENCE);
        out.extend_from_slice(&BYTE_ARRAY_HANDLE.to_be_bytes());
    } else {
        out.extend_from_slice(BYTE_ARRAY_CLASS);
        *class_written = true;
    }
    out.extend_from_slice(&(array.len() as u32).to_be_bytes());
    out.extend_from_slice(array);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What `java.io.ObjectOutputStream` of JDK 17 writes for one entry `["src",{"filename":"/tmp/in.txt"}]` → `{"position":3}`.
    fn golden() -> Vec<u8> {
        let mut file = b"\xac\xed\x00\x05\x73\x72\x00\x11java.util.HashMap\x05\x07\xda\xc1\xc3\x16\x60\xd1\x03\x00\x02\x46\x00\x0aloadFactor\x49\x00\x09threshold\x78\x70\x3f\x40\x00\x00\x00\x00\x00\x0c\x77\x08\x00\x00\x00\x10\x00\x00\x00\x01".to_vec();
        file.extend_from_slice(
            b"\x75\x72\x00\x02[B\xac\xf3\x17\xf8\x06\x08\x54\xe0\x02\x00\x00\x78\x70\x00\x00\x00\x22",
        );
        file.extend_from_slice(br#"["src",{"filename":"/tmp/in.txt"}]"#);
        file.extend_from_slice(b"\x75\x71\x00\x7e\x00\x02\x00\x00\x00\x0e{\"position\":3}\x78");
        file
    }

    #[test]
    fn golden_bytes_both_ways() {
        let entries = read(&golden()).unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].1.as_deref(), Some(&br#"{"position":3}"#[..]));
        let written = write(entries.iter().map(|(k, v)| (k.as_deref(), v.as_deref())));
        assert_eq!(written, golden());
    }

    #[test]
    fn every_truncation_and_flipped_byte_is_survived() {
        let file = golden();
        for len in 0..file.len() {
            assert!(read(&file[..len]).is_err(), "{len} bytes were accepted");
        }
        for at in 0..file.len() {
            let mut bad = file.clone();
            bad[at] ^= 0x80;
            let _ = read(&bad); // may be other data, may not panic nor reserve more than the file holds
        }
    }

    #[test]
    fn an_array_written_twice_is_a_reference() {
        let mut file = golden();
        file.truncate(file.len() - 1 - 14 - 10);
        file.extend_from_slice(b"\x71\x00\x7e\x00\x03\x78");
        let entries = read(&file).unwrap();
        assert_eq!(entries[0].0, entries[0].1);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(entries in prop::collection::vec((prop::option::of(prop::collection::vec(any::<u8>(), 0..20)), prop::option::of(prop::collection::vec(any::<u8>(), 0..20))), 0..40)) {
            let written = write(entries.iter().map(|(k, v)| (k.as_deref(), v.as_deref())));
            prop_assert_eq!(read(&written).unwrap(), entries);
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }
}
