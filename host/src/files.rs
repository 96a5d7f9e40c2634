//! Files on disk: read only when they are regular, within a bound, and written whole.
//!
//! Everything that the host writes goes through [`write_whole`] and [`write_durable`], so that one
//! place can make any step fail in a test (`files/faults.rs`).

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use sha2::{Digest, Sha256};
use tempfile::Builder;

#[cfg(test)]
pub mod faults;
mod step;
pub mod watch;

use step::{Step, step};

/// Why a path is not opened: the file system has something else there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a file but {0}")]
pub struct Irregular(&'static str);

impl Irregular {
    /// Whether this is why something failed.
    pub fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Irregular>())
    }
}

/// Why the contents of a file were not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("has {0} bytes")]
    TooLarge(u64),
}

/// An error when the path leads to anything but a regular file, links followed. Opens nothing.
pub fn check_regular(path: &Path) -> io::Result<()> {
    regular(&fs::metadata(path)?)
}

fn regular(meta: &Metadata) -> io::Result<()> {
    let kind = meta.file_type();
    let what = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_dir() => "a folder",
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, Irregular(what)))
}

/// Opens a regular file of at most this many bytes. Never waits: opening a pipe for reading would,
/// for its writer.
fn open(path: &Path, most: u64) -> Result<File, ReadError> {
    // Checked first too, because merely opening a device can have an effect.
    check_regular(path)?;
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let meta = file.metadata()?;
    regular(&meta)?;
    if meta.len() > most { Err(ReadError::TooLarge(meta.len())) } else { Ok(file) }
}

/// The bytes of a regular file, if it has at most this many.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    open(path, most)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    // It may have grown since it was opened.
    let length = bytes.len() as u64;
    if length > most { Err(ReadError::TooLarge(length)) } else { Ok(bytes) }
}

/// The SHA-256 of a regular file of at most this many bytes, in hexadecimal. Takes no more memory
/// for a larger file.
pub fn digest(path: &Path, most: u64) -> Result<String, ReadError> {
    Ok(digest_of(&mut open(path, most)?.take(most))?)
}

/// The SHA-256 of everything that is left in a reader, in hexadecimal.
pub fn digest_of(reader: &mut impl Read) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match reader.read(&mut buffer)? {
            0 => break,
            n => hasher.update(buffer.get(..n).unwrap_or_default()),
        }
    }
    Ok(hex(&hasher.finalize()))
}

/// Bytes as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Makes a folder, and those above it, that only we can read, unless it exists. A new one survives
/// a power cut.
pub fn make_private(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let above = dir.parent().filter(|above| !above.as_os_str().is_empty());
    if let Some(above) = above {
        make_private(above)?;
    }
    step(Step::MakeFolder, dir)?;
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
        made => made?,
    }
    above.map_or(Ok(()), sync_folder)
}

/// Only we can read it.
pub const PRIVATE: u32 = 0o600;

/// As the process's mask has it.
pub const PUBLIC: u32 = 0o666;

/// Writes a file that appears whole or not at all, with this mode. After a power cut it may be
/// empty.
pub fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    write(path, bytes, mode, false)
}

/// The same for a file that decides what the host serves: once this returns, a power cut does not
/// undo it, and whatever was written before it is on disk before it.
pub fn write_durable(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    write(path, bytes, mode, true)
}

fn write(path: &Path, bytes: &[u8], mode: u32, durable: bool) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file =
        Builder::new().prefix(path.file_stem().unwrap_or_default()).suffix(".tmp").make_in(folder, |temporary| {
            step(Step::Create, temporary)?;
            OpenOptions::new().write(true).create_new(true).mode(mode).open(temporary)
        })?;
    step(Step::Write, file.path())?;
    file.as_file_mut().write_all(bytes)?;
    if durable {
        step(Step::SyncFile, file.path())?;
        file.as_file().sync_all()?;
    }
    step(Step::Rename, path)?;
    file.persist(path)?;
    if durable { sync_folder(folder) } else { Ok(()) }
}

/// Makes what was renamed into a folder survive a power cut.
fn sync_folder(folder: &Path) -> io::Result<()> {
    step(Step::SyncFolder, folder)?;
    match File::open(folder)?.sync_all() {
        // Some file systems cannot: they have their own way to keep a rename.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    }
}

/// Does work that waits for a disk, or computes for long, on a thread of its own kind, so that this
/// one can serve.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and this future with it.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_of_the_same_number_left_is_in_nobodys_way() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        for number in 0..200 {
            fs::write(dir.join(format!("file.{}-{number}.tmp", std::process::id())), "half").unwrap();
        }
        let written = write_whole(&dir.join("file.wasm"), b"whole", PRIVATE);
        let found = fs::read(dir.join("file.wasm"));
        written.unwrap();
        assert_eq!(found.unwrap(), b"whole");
    }

    #[test]
    fn only_regular_files_are_opened_and_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let pipe = dir.join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        let socket = dir.join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let link = dir.join("link");
        std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
        let looped = dir.join("looped");
        std::os::unix::fs::symlink(&looped, &looped).unwrap();
        let why = |path: &Path| match (read(path, 10), digest(path, 10)) {
            (Err(ReadError::Io(read)), Err(ReadError::Io(digest))) => {
                assert_eq!(read.to_string(), digest.to_string());
                (Irregular::is(&read), read.to_string())
            }
            other => panic!("{} is read: {other:?}", path.display()),
        };
        for (path, what) in [(dir, "folder"), (&pipe, "pipe"), (&socket, "socket"), (&link, "device")] {
            assert_eq!(why(path), (true, format!("is not a file but a {what}")));
        }
        assert!(!why(&looped).0 && !why(&dir.join("none")).0);
    }

    #[test]
    fn a_file_beyond_the_bound_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let file = dir.join("file");
        fs::write(&file, "12345").unwrap();
        assert_eq!(read(&file, 5).unwrap(), b"12345");
        assert_eq!(digest(&file, 5).unwrap(), digest_of(&mut &b"12345"[..]).unwrap());
        assert!(matches!(read(&file, 4), Err(ReadError::TooLarge(5))));
        assert!(matches!(digest(&file, 4), Err(ReadError::TooLarge(5))));
        File::create(&file).unwrap().set_len(1 << 40).unwrap();
        assert!(matches!(read(&file, 1 << 20), Err(ReadError::TooLarge(size)) if size == 1 << 40));
    }
}
