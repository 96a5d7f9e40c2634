//! Reads and writes files. The host reads only regular files, of a bounded size, and writes every
//! file whole.
//!
//! Every write of the host goes through [`write_whole`] or [`write_durable`], so that a test can
//! make each step fail in one place (`files/faults.rs`).

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use sha2::{Digest, Sha256};
use tempfile::Builder;

#[cfg(test)]
pub mod faults;
mod step;
pub mod watch;

use step::{Step, step};

/// Returns a path relative to the current folder if it is below that.
pub fn relative(file: &Path) -> PathBuf {
    let current = std::env::current_dir().unwrap_or_default();
    let short = file.strip_prefix(&current).unwrap_or(file);
    short.strip_prefix(".").unwrap_or(short).to_owned()
}

/// The path is not a regular file but a folder, a pipe, a socket or a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a file but {0}")]
pub struct NotAFile(&'static str);

impl NotAFile {
    /// Whether `error` has this cause.
    pub fn caused(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<NotAFile>())
    }
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("has {0} bytes")]
    TooLarge(u64),
}

/// Fails unless the path, with links followed, is a regular file. Does not open it.
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
    Err(io::Error::new(io::ErrorKind::InvalidInput, NotAFile(what)))
}

/// Opens a regular file of at most `most` bytes. Never blocks, not even on a pipe without a writer.
fn open(path: &Path, most: u64) -> Result<File, ReadError> {
    // Before the open too, because opening a device can have an effect.
    check_regular(path)?;
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let meta = file.metadata()?;
    regular(&meta)?;
    if meta.len() > most { Err(ReadError::TooLarge(meta.len())) } else { Ok(file) }
}

/// Returns the bytes of a regular file, or an error when it has more than `most`.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    open(path, most)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    // The file may have grown since it was opened.
    let length = bytes.len() as u64;
    if length > most { Err(ReadError::TooLarge(length)) } else { Ok(bytes) }
}

/// Returns the SHA-256 of a regular file of at most `most` bytes, in hexadecimal. Its use of memory
/// does not depend on the size of the file.
pub fn digest(path: &Path, most: u64) -> Result<String, ReadError> {
    Ok(digest_of(&mut open(path, most)?.take(most))?)
}

/// Returns the SHA-256 of the rest of a reader, in hexadecimal.
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

/// Returns bytes as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Creates a folder and its parents, readable by this user only, unless they exist. A new folder
/// survives a power cut.
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

/// The mode of a file that only this user can read.
pub const PRIVATE: u32 = 0o600;

/// The mode of a file whose readers the umask decides.
pub const PUBLIC: u32 = 0o666;

/// Writes a file with this mode. The file appears whole or not at all, but it may be empty after a
/// power cut.
pub fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    write(path, bytes, mode, false)
}

/// Writes a file like [`write_whole`], and syncs it, for files that decide what the host serves: a
/// power cut after the return does not undo the write, and earlier durable writes are on disk
/// first.
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

/// Syncs a folder, so that renames into it survive a power cut.
fn sync_folder(folder: &Path) -> io::Result<()> {
    step(Step::SyncFolder, folder)?;
    match File::open(folder)?.sync_all() {
        // Some file systems cannot sync a folder. They keep renames in a way of their own.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_files_of_a_killed_process_with_the_same_id_do_no_harm() {
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
    fn only_regular_files_are_opened_and_without_waiting() {
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
                (NotAFile::caused(&read), read.to_string())
            }
            other => panic!("{} was read: {other:?}", path.display()),
        };
        for (path, what) in [(dir, "folder"), (&pipe, "pipe"), (&socket, "socket"), (&link, "device")] {
            assert_eq!(why(path), (true, format!("is not a file but a {what}")));
        }
        assert!(!why(&looped).0 && !why(&dir.join("none")).0);
    }

    #[test]
    fn a_file_above_the_bound_is_not_read() {
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
