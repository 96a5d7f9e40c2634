//! What a guest reads as a stream: a file, or the entries of a folder. Nothing is read before the
//! guest asks, and no thread waits for the guest.

use std::fs::File;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};
use tokio::sync::oneshot;
use wasmtime::StoreContextMut;
use wasmtime::component::{Destination, StreamProducer, StreamResult, VecBuffer};
use wasmtime_wasi::p3::bindings::filesystem::types::{DescriptorType, DirectoryEntry, ErrorCode};

use crate::blocking::run_blocking;
use crate::isolate::state::State;
use crate::isolate::wasi_files::open_files::{Place, STEP};

/// The most entries of a folder that are read at once.
const ENTRIES: usize = 64;

type Reading<T> = Pin<Box<dyn Future<Output = io::Result<Vec<T>>> + Send>>;

/// Pieces of a stream, until one is empty.
pub struct Pieces<T> {
    next: Box<dyn FnMut() -> Reading<T> + Send>,
    reading: Option<Reading<T>>,
    result: Option<oneshot::Sender<Result<(), ErrorCode>>>,
    _place: Place,
}

pub type Ended = oneshot::Receiver<Result<(), ErrorCode>>;

impl<T> Pieces<T> {
    fn new(place: Place, next: impl FnMut() -> Reading<T> + Send + 'static) -> (Pieces<T>, Ended) {
        let (sender, ended) = oneshot::channel();
        (Pieces { next: Box::new(next), reading: None, result: Some(sender), _place: place }, ended)
    }

    fn close(&mut self, result: Result<(), ErrorCode>) {
        if let Some(sender) = self.result.take() {
            // A guest may drop the future.
            _ = sender.send(result);
        }
    }
}

/// The bytes of a file.
pub fn of_file(file: Arc<File>, offset: u64, place: Place) -> (Pieces<u8>, Ended) {
    let at = Arc::new(Mutex::new(offset));
    Pieces::new(place, move || {
        let (file, at) = (file.clone(), at.clone());
        Box::pin(run_blocking(move || {
            let mut at = at.lock();
            let mut bytes = vec![0; STEP as usize];
            let size = file.read_at(&mut bytes, *at)?;
            bytes.truncate(size);
            *at = at.saturating_add(size as u64);
            Ok(bytes)
        }))
    })
}

/// The entries of a folder.
pub fn of_folder(folder: Arc<File>, place: Place) -> (Pieces<DirectoryEntry>, Ended) {
    let open = Arc::new(Mutex::new(None));
    Pieces::new(place, move || {
        let (folder, open) = (folder.clone(), open.clone());
        Box::pin(run_blocking(move || {
            let mut open = open.lock();
            let entries = match &mut *open {
                Some(entries) => entries,
                none => {
                    // The descriptor of a folder may be for paths only.
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                    none.insert(Dir::new(openat(&*folder, ".", flags, Mode::empty())?)?)
                }
            };
            let named = entries.filter(|entry| {
                entry.as_ref().map_or(true, |entry| !matches!(entry.file_name().to_bytes(), b"." | b".."))
            });
            named.take(ENTRIES).map(|entry| described(&folder, &entry?)).collect()
        }))
    })
}

fn described(folder: &File, entry: &rustix::fs::DirEntry) -> io::Result<DirectoryEntry> {
    let name = entry.file_name();
    let kind = match entry.file_type() {
        // Not every file system says.
        FileType::Unknown => {
            let found = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            FileType::from_raw_mode(found.st_mode)
        }
        known => known,
    };
    let type_ = match kind {
        FileType::RegularFile => DescriptorType::RegularFile,
        FileType::Directory => DescriptorType::Directory,
        FileType::Symlink => DescriptorType::SymbolicLink,
        FileType::Fifo => DescriptorType::Fifo,
        FileType::Socket => DescriptorType::Socket,
        FileType::CharacterDevice => DescriptorType::CharacterDevice,
        FileType::BlockDevice => DescriptorType::BlockDevice,
        FileType::Unknown => DescriptorType::Other(None),
    };
    let name = name.to_str().map_err(|_| io::Error::from(rustix::io::Errno::ILSEQ))?.to_owned();
    Ok(DirectoryEntry { type_, name })
}

impl<T: wasmtime::component::Lower + Send + Sync + Unpin + 'static> StreamProducer<State> for Pieces<T> {
    type Item = T;
    type Buffer = VecBuffer<T>;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, State>,
        mut destination: Destination<'a, T, VecBuffer<T>>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let me = self.get_mut();
        // A read of no items asks whether there are some. The next one waits for them.
        if destination.remaining(&mut store) == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let reading = me.reading.get_or_insert_with(|| (me.next)());
        let read = match reading.as_mut().poll(cx) {
            // What is being read stays for the next time.
            Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
            read => ready!(read),
        };
        me.reading = None;
        Poll::Ready(Ok(match read {
            Ok(piece) if piece.is_empty() => {
                me.close(Ok(()));
                StreamResult::Dropped
            }
            Ok(piece) => {
                destination.set_buffer(piece.into());
                StreamResult::Completed
            }
            Err(error) => {
                me.close(Err(error.into()));
                StreamResult::Dropped
            }
        }))
    }
}

impl<T> Drop for Pieces<T> {
    fn drop(&mut self) {
        self.close(Ok(()));
    }
}
