//! Reads that do not wait for a disk.

use std::fs::File;
use std::io::IoSliceMut;

use rustix::io::{ReadWriteFlags, preadv2};

/// Reads from the file's place on what the kernel holds in memory (`RWF_NOWAIT`, preadv2(2)). None if it holds nothing, at the
/// end of the file, and where the file system cannot tell: then a thread that may wait has to read.
pub(super) fn read(file: &File, into: &mut [u8]) -> Option<usize> {
    const FROM_ITS_PLACE: u64 = u64::MAX;
    let read = preadv2(file, &mut [IoSliceMut::new(into)], FROM_ITS_PLACE, ReadWriteFlags::NOWAIT);
    read.ok().filter(|read| *read > 0)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    #[test]
    fn what_was_just_written_is_read_and_the_file_moves_on() {
        let mut written = tempfile::NamedTempFile::new().unwrap();
        written.write_all(b"one two").unwrap();
        let mut file = std::fs::File::open(written.path()).unwrap();
        let mut bytes = [0; 4];
        // a file system that cannot tell is no failure of ours
        if let Some(read) = super::read(&file, &mut bytes) {
            assert_eq!(&bytes[..read], &b"one two"[..read]);
            let mut rest = Vec::new();
            file.read_to_end(&mut rest).unwrap();
            assert_eq!(rest, &b"one two"[read..]);
        }
        assert_eq!(super::read(&file, &mut bytes), None, "the end");
    }
}
