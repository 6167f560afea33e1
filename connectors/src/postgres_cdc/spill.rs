//! What a streamed transaction has too much for memory, in a file that has no name: when the process ends, however it does, it is
//! gone, and the server sends the transaction again.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

/// Chunks in a file, each after its length: all are written before the first one is read.
#[derive(Debug)]
pub(super) struct Spill {
    file: Arc<File>,
    /// Bytes that have not been read.
    left: u64,
    reading: bool,
}

/// Runs on a thread that may wait for the disk.
async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

impl Spill {
    /// A new file in that folder.
    pub(super) async fn create(folder: PathBuf) -> io::Result<Spill> {
        let file = on_disk(move || tempfile::tempfile_in(folder)).await?;
        Ok(Spill { file: Arc::new(file), left: 0, reading: false })
    }

    /// Writes chunks behind the others.
    pub(super) async fn append(&mut self, chunks: Vec<Bytes>) -> io::Result<()> {
        let file = Arc::clone(&self.file);
        self.left += on_disk(move || {
            let mut written = 0;
            for chunk in chunks {
                let length = u32::try_from(chunk.len()).map_err(io::Error::other)?;
                (&*file).write_all(&length.to_be_bytes())?;
                (&*file).write_all(&chunk)?;
                written += u64::from(length) + 4;
            }
            Ok(written)
        })
        .await?;
        Ok(())
    }

    /// The next chunk; `None` after the last one.
    pub(super) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.left == 0 {
            return Ok(None);
        }
        let (file, left) = (Arc::clone(&self.file), self.left);
        let rewind = !std::mem::replace(&mut self.reading, true);
        let chunk = on_disk(move || {
            let mut file = &*file;
            if rewind {
                file.rewind()?;
            }
            let mut length = [0; 4];
            file.read_exact(&mut length)?;
            let length = u32::from_be_bytes(length);
            if u64::from(length) + 4 > left {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let mut chunk = vec![0; length as usize];
            file.read_exact(&mut chunk)?;
            Ok(chunk)
        })
        .await?;
        self.left -= chunk.len() as u64 + 4;
        Ok(Some(Bytes::from(chunk)))
    }
}
