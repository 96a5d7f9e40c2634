//! The functions of `wasi:filesystem` 0.2.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use rustix::io::Errno;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::filesystem::WasiFilesystemView;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    Descriptor, DescriptorFlags, DirectoryEntryStream, ErrorCode, HostDescriptor, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{DynOutputStream, FsError, FsResult, OutputStream, Pollable, StreamError, StreamResult};

use super::open_files::STEP;
use crate::isolate::state::State;
use crate::registry::{DiskUsage, Reserved};

type Fd = Resource<Descriptor>;
type Store<'a> = StoreContextMut<'a, State>;
type Returned<T> = wasmtime::Result<(Result<T, ErrorCode>,)>;

/// What the guest gets.
fn returned<T>(result: FsResult<T>) -> Returned<T> {
    match result {
        Ok(value) => Ok((Ok(value),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

fn full() -> FsError {
    ErrorCode::InsufficientSpace.into()
}

/// Counts bytes and files that the guest is about to write.
async fn reserve(store: &mut Store<'_>, bytes: u64, files: u64) -> FsResult<Reserved> {
    store.data().disk().reserve(bytes, files).await.ok_or_else(full)
}

async fn open_at(
    store: &mut Store<'_>,
    (fd, path_flags, path, open, flags): (Fd, PathFlags, String, OpenFlags, DescriptorFlags),
) -> FsResult<Fd> {
    let creates = open.contains(OpenFlags::CREATE);
    let _reserved = if creates { Some(reserve(store, 0, 1).await?) } else { None };
    if !store.data_mut().files.open() {
        return Err(ErrorCode::InsufficientMemory.into());
    }
    let opened = store.data_mut().filesystem().open_at(fd, path_flags, path, open, flags).await;
    store.data_mut().opened(opened.as_ref().ok());
    opened
}

async fn write(store: &mut Store<'_>, (fd, bytes, offset): (Fd, Vec<u8>, u64)) -> FsResult<u64> {
    let _reserved = reserve(store, bytes.len() as u64, 0).await?;
    store.data_mut().filesystem().write(fd, bytes, offset).await
}

async fn set_size(store: &mut Store<'_>, (fd, size): (Fd, u64)) -> FsResult<()> {
    let growth = store.data_mut().growth(&fd, size);
    let _reserved = if growth > 0 { Some(reserve(store, growth, 0).await?) } else { None };
    store.data_mut().filesystem().set_size(fd, size).await
}

/// Puts a stream that counts in the place of one that does not.
fn counting(state: &mut State, stream: FsResult<Resource<DynOutputStream>>) -> FsResult<Resource<DynOutputStream>> {
    let (disk, table) = (state.disk(), &mut *state.filesystem().table);
    let inner = table.delete(stream?)?;
    let stream: DynOutputStream =
        Box::new(CountingStream { inner, reserved: disk.nothing(), disk, left: 0, full: false });
    Ok(table.push(stream)?)
}

pub fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut types = linker.instance("wasi:filesystem/types@0.2.12")?;
    macro_rules! replace {
        ($name:literal, $params:ty => $function:expr) => {
            types.func_wrap_async(concat!("[method]descriptor.", $name), |mut store: Store<'_>, params: $params| {
                Box::new(async move { returned($function(&mut store, params).await) })
            })?;
        };
    }
    replace!("open-at", (Fd, PathFlags, String, OpenFlags, DescriptorFlags) => open_at);
    replace!("write", (Fd, Vec<u8>, u64) => write);
    replace!("set-size", (Fd, u64) => set_size);
    replace!("create-directory-at", (Fd, String) => async |store: &mut Store<'_>, (fd, path)| {
        let _reserved = reserve(store, 0, 1).await?;
        store.data_mut().filesystem().create_directory_at(fd, path).await
    });
    replace!("symlink-at", (Fd, String, String) => async |store: &mut Store<'_>, (fd, old, new)| {
        let _reserved = reserve(store, 0, 1).await?;
        store.data_mut().filesystem().symlink_at(fd, old, new).await
    });
    replace!("link-at", (Fd, PathFlags, String, Fd, String) => async |store: &mut Store<'_>, (fd, flags, old, to, new)| {
        let _reserved = reserve(store, 0, 1).await?;
        store.data_mut().filesystem().link_at(fd, flags, old, to, new).await
    });
    replace!("read-directory", (Fd,) => async |store: &mut Store<'_>, (fd,)| {
        let state = store.data_mut();
        // Each has all the entries.
        let lists = state.table.iter_mut().filter(|entry| entry.is::<DirectoryEntryStream>()).count();
        if !state.files.has_room(lists) {
            return Err(ErrorCode::InsufficientMemory.into());
        }
        state.filesystem().read_directory(fd).await
    });
    types.func_wrap("[method]descriptor.write-via-stream", |mut store: Store<'_>, (fd, offset): (Fd, u64)| {
        let state = store.data_mut();
        let stream = state.filesystem().write_via_stream(fd, offset);
        returned(counting(state, stream))
    })?;
    types.func_wrap("[method]descriptor.append-via-stream", |mut store: Store<'_>, (fd,): (Fd,)| {
        let state = store.data_mut();
        let stream = state.filesystem().append_via_stream(fd);
        returned(counting(state, stream))
    })?;
    Ok(())
}

/// A stream to a file that counts its bytes before it writes them.
struct CountingStream {
    inner: DynOutputStream,
    disk: Arc<DiskUsage>,
    /// What was counted and may not be written yet.
    reserved: Reserved,
    /// The bytes of it that the guest may write.
    left: u64,
    full: bool,
}

impl CountingStream {
    async fn count(&mut self, wanted: u64) {
        if self.left < wanted {
            self.settle().await;
            self.add(self.disk.reserve(wanted - self.left, 0).await);
        }
    }

    fn add(&mut self, more: Option<Reserved>) {
        if let Some(more) = more {
            self.left += more.bytes();
            self.reserved.add(more);
        }
    }

    /// Waits until all is written that the guest has written.
    async fn settle(&mut self) {
        self.inner.ready().await;
        self.reserved.written_except(self.left);
    }
}

impl Drop for CountingStream {
    fn drop(&mut self) {
        self.reserved.written_except(self.left);
        self.reserved.release();
    }
}

#[async_trait]
impl Pollable for CountingStream {
    async fn ready(&mut self) {
        self.settle().await;
        if self.left == 0 {
            self.add(self.disk.reserve_some(STEP).await);
        }
        self.full = self.left == 0;
    }
}

#[async_trait]
impl OutputStream for CountingStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else {
            return Err(StreamError::Trap(wasmtime::format_err!("a guest wrote more than `check-write` allowed")));
        };
        self.left = left;
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.inner.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        if self.full {
            return Err(StreamError::LastOperationFailed(io::Error::from(Errno::NOSPC).into()));
        }
        let permitted = self.inner.check_write()?;
        Ok(permitted.min(usize::try_from(self.left).unwrap_or(usize::MAX)))
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        let size = bytes.len() as u64;
        self.count(size).await;
        let Some(left) = self.left.checked_sub(size) else {
            return Err(StreamError::LastOperationFailed(io::Error::from(Errno::NOSPC).into()));
        };
        self.left = left;
        let written = self.inner.blocking_write_and_flush(bytes).await;
        self.reserved.written_except(self.left);
        written
    }

    async fn cancel(&mut self) {
        self.inner.cancel().await;
    }
}
