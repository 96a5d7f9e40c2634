//! The functions of `wasi:filesystem` 0.3.

mod pieces;

use std::fs::File;
use std::future::Future;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;
use wasmtime::StoreContextMut;
use wasmtime::component::{
    Accessor, FutureReader, Lift, Linker, Lower, Resource, Source, StreamConsumer, StreamReader, StreamResult,
};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p3::bindings::filesystem::types::{
    Descriptor, DescriptorFlags, DirectoryEntry, ErrorCode, HostDescriptorWithStore, OpenFlags, PathFlags,
};
use wasmtime_wasi::p3::filesystem::{FilesystemError, FilesystemResult};

use pieces::{Ended, Pieces};

use super::open_files::{Place, STEP};
use crate::blocking::run_blocking;
use crate::isolate::state::State;
use crate::registry::{DiskUsage, Reserved};

type Fd = Resource<Descriptor>;
type Store<'a> = StoreContextMut<'a, State>;
type Returned<T> = wasmtime::Result<(Result<T, ErrorCode>,)>;

fn returned<T>(result: FilesystemResult<T>) -> Returned<T> {
    match result {
        Ok(value) => Ok((Ok(value),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

fn full() -> FilesystemError {
    ErrorCode::InsufficientSpace.into()
}

fn disk(accessor: &Accessor<State>) -> Arc<DiskUsage> {
    accessor.with(|mut access| access.get().disk())
}

fn files(accessor: &Accessor<State>) -> Accessor<State, WasiFilesystem> {
    accessor.with_getter(|state| state.filesystem())
}

/// Counts bytes and files that the guest is about to write.
async fn reserve(accessor: &Accessor<State>, bytes: u64, files: u64) -> FilesystemResult<Reserved> {
    disk(accessor).reserve(bytes, files).await.ok_or_else(full)
}

async fn open_at(
    accessor: &Accessor<State>,
    (fd, path_flags, path, open, flags): (Fd, PathFlags, String, OpenFlags, DescriptorFlags),
) -> FilesystemResult<Fd> {
    let creates = open.contains(OpenFlags::CREATE);
    let _reserved = if creates { Some(reserve(accessor, 0, 1).await?) } else { None };
    if !accessor.with(|mut access| access.get().files.open()) {
        return Err(ErrorCode::InsufficientMemory.into());
    }
    let opened = WasiFilesystem::open_at(&files(accessor), fd, path_flags, path, open, flags).await;
    accessor.with(|mut access| access.get().opened(opened.as_ref().ok()));
    opened
}

async fn set_size(accessor: &Accessor<State>, (fd, size): (Fd, u64)) -> FilesystemResult<()> {
    let growth = accessor.with(|mut access| access.get().growth(&fd, size));
    let _reserved = if growth > 0 { Some(reserve(accessor, growth, 0).await?) } else { None };
    WasiFilesystem::set_size(&files(accessor), fd, size).await
}

pub fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut types = linker.instance("wasi:filesystem/types@0.3.0")?;
    macro_rules! replace {
        ($name:literal, $params:ty => $function:expr) => {
            types.func_wrap_concurrent(
                concat!("[method]descriptor.", $name),
                |accessor: &Accessor<State>, params: $params| {
                    Box::pin(async move { returned($function(accessor, params).await) })
                },
            )?;
        };
    }
    replace!("open-at", (Fd, PathFlags, String, OpenFlags, DescriptorFlags) => open_at);
    replace!("set-size", (Fd, u64) => set_size);
    replace!("create-directory-at", (Fd, String) => async |accessor: &Accessor<State>, (fd, path)| {
        let _reserved = reserve(accessor, 0, 1).await?;
        WasiFilesystem::create_directory_at(&files(accessor), fd, path).await
    });
    replace!("symlink-at", (Fd, String, String) => async |accessor: &Accessor<State>, (fd, old, new)| {
        let _reserved = reserve(accessor, 0, 1).await?;
        WasiFilesystem::symlink_at(&files(accessor), fd, old, new).await
    });
    replace!("link-at", (Fd, PathFlags, String, Fd, String) => async |accessor: &Accessor<State>, (fd, flags, old, to, new)| {
        let _reserved = reserve(accessor, 0, 1).await?;
        WasiFilesystem::link_at(&files(accessor), fd, flags, old, to, new).await
    });
    type Written = wasmtime::Result<(FutureReader<Result<(), ErrorCode>>,)>;
    types.func_wrap(
        "[method]descriptor.write-via-stream",
        |store: Store<'_>, (fd, data, offset): (Fd, StreamReader<u8>, u64)| -> Written {
            write(store, &fd, data, Some(offset))
        },
    )?;
    types.func_wrap(
        "[method]descriptor.append-via-stream",
        |store: Store<'_>, (fd, data): (Fd, StreamReader<u8>)| -> Written { write(store, &fd, data, None) },
    )?;
    types.func_wrap(
        "[method]descriptor.read-via-stream",
        |mut store: Store<'_>, (fd, offset): (Fd, u64)| -> Read<u8> {
            let place = store.data_mut().files.stream();
            let found = match store.data_mut().filesystem().table.get(&fd)? {
                Descriptor::File(file) => Ok(file.file.clone()),
                Descriptor::Dir(_) => Err(ErrorCode::IsDirectory),
            };
            let found = found.and_then(|file| Ok((file, place.ok_or(ErrorCode::InsufficientMemory)?)));
            read(store, found.map(|(file, place)| pieces::of_file(file, offset, place)))
        },
    )?;
    types.func_wrap(
        "[method]descriptor.read-directory",
        |mut store: Store<'_>, (fd,): (Fd,)| -> Read<DirectoryEntry> {
            let place = store.data_mut().files.stream();
            let found = match store.data_mut().filesystem().table.get(&fd)? {
                Descriptor::Dir(dir) => Ok(dir.dir.clone()),
                Descriptor::File(_) => Err(ErrorCode::NotDirectory),
            };
            let found = found.and_then(|dir| Ok((dir, place.ok_or(ErrorCode::InsufficientMemory)?)));
            read(store, found.map(|(dir, place)| pieces::of_folder(dir, place)))
        },
    )?;
    Ok(())
}

type Read<T> = wasmtime::Result<((StreamReader<T>, FutureReader<Result<(), ErrorCode>>),)>;

/// Gives the guest a stream and its end, or an empty stream and an error.
fn read<T>(mut store: Store<'_>, found: Result<(Pieces<T>, Ended), ErrorCode>) -> Read<T>
where
    T: Lower + Lift + Send + Sync + Unpin + 'static,
{
    let (stream, ended) = match found {
        Ok((pieces, ended)) => (StreamReader::new(&mut store, pieces)?, ended),
        Err(code) => {
            let (sender, ended) = oneshot::channel();
            // The receiver is below.
            _ = sender.send(Err(code));
            (StreamReader::new(&mut store, Vec::new())?, ended)
        }
    };
    Ok(((stream, FutureReader::new(&mut store, ended)?),))
}

/// Writes a stream to a file, from an offset or at its end.
fn write(
    mut store: Store<'_>,
    fd: &Fd,
    mut data: StreamReader<u8>,
    at: Option<u64>,
) -> wasmtime::Result<(FutureReader<Result<(), ErrorCode>>,)> {
    let (sender, result) = oneshot::channel();
    let place = store.data_mut().files.stream();
    let found = match store.data_mut().filesystem().table.get(fd)? {
        Descriptor::File(file) if file.perms.write_not_permitted() => Err(ErrorCode::NotPermitted),
        Descriptor::File(file) => Ok(file.file.clone()),
        Descriptor::Dir(_) => Err(ErrorCode::BadDescriptor),
    };
    let found = found.and_then(|file| Ok((file, place.ok_or(ErrorCode::InsufficientMemory)?)));
    match found {
        Ok((file, place)) => {
            let disk = store.data().disk();
            let writer = CountingWriter { file, at, disk, result: Some(sender), writing: None, _place: place };
            data.pipe(&mut store, writer)?;
        }
        Err(code) => {
            data.close(&mut store)?;
            // The receiver is below.
            _ = sender.send(Err(code));
        }
    }
    Ok((FutureReader::new(&mut store, result)?,))
}

type Writing = Pin<Box<dyn Future<Output = Result<usize, ErrorCode>> + Send>>;

/// Writes to a file, and counts the bytes before.
struct CountingWriter {
    file: Arc<File>,
    /// `None` for the end of the file.
    at: Option<u64>,
    disk: Arc<DiskUsage>,
    result: Option<oneshot::Sender<Result<(), ErrorCode>>>,
    writing: Option<Writing>,
    _place: Place,
}

impl CountingWriter {
    fn close(&mut self, result: Result<(), ErrorCode>) {
        if let Some(sender) = self.result.take() {
            // A guest may drop the future.
            _ = sender.send(result);
        }
    }
}

impl Drop for CountingWriter {
    fn drop(&mut self) {
        self.close(Ok(()));
    }
}

fn write_some(file: &File, at: Option<u64>, bytes: &[u8]) -> io::Result<usize> {
    match at {
        Some(at) => file.write_at(bytes, at),
        None => {
            let mut file = file;
            file.seek(SeekFrom::End(0))?;
            file.write(bytes)
        }
    }
}

async fn count_and_write(
    disk: Arc<DiskUsage>,
    file: Arc<File>,
    at: Option<u64>,
    bytes: Vec<u8>,
) -> Result<usize, ErrorCode> {
    let reserved = disk.reserve(bytes.len() as u64, 0).await.ok_or(ErrorCode::InsufficientSpace)?;
    let write = move || {
        // It is written even if nothing waits for it any more.
        let _reserved = reserved;
        write_some(&file, at, &bytes)
    };
    Ok(run_blocking(write).await?)
}

impl StreamConsumer<State> for CountingWriter {
    type Item = u8;

    fn poll_consume(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: Store<'_>,
        source: Source<'_, u8>,
        _: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let me = self.get_mut();
        let mut source = source.as_direct(store);
        let writing = me.writing.get_or_insert_with(|| {
            let bytes = source.remaining().iter().take(STEP as usize).copied().collect();
            Box::pin(count_and_write(me.disk.clone(), me.file.clone(), me.at, bytes))
        });
        let written = ready!(writing.as_mut().poll(cx));
        me.writing = None;
        Poll::Ready(Ok(match written {
            Ok(size) => {
                source.mark_read(size);
                me.at = me.at.map(|at| at.saturating_add(size as u64));
                StreamResult::Completed
            }
            Err(code) => {
                me.close(Err(code));
                StreamResult::Dropped
            }
        }))
    }
}
