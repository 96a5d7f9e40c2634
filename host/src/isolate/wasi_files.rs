//! `wasi:filesystem`: the folders that were granted, with limits on open files and, where the guest
//! may write, on bytes and files.
//!
//! wasmtime opens everything relative to a folder and never leaves it, also through links. It has
//! no limits, so this module replaces those functions that open or grow a file by ones that check
//! the limits first, and then call those of wasmtime.

mod open_files;
mod p2;
mod p3;

use std::sync::Arc;

use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemCtx, WasiFilesystemView};
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

pub use open_files::OpenFiles;

use super::state::State;
use crate::registry::{DiskUsage, Generation};

/// Replaces the functions of both versions.
pub fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    p2::add_to_linker(linker)?;
    p3::add_to_linker(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Opens the folders of a generation. All its instances share the descriptors.
pub fn open_folders(generation: &Generation) -> wasmtime::Result<WasiFilesystemCtx> {
    let mut builder = WasiCtxBuilder::new();
    for folder in &generation.outside.folders {
        let shown = folder.host.display();
        if folder.make {
            let made = std::fs::create_dir_all(&folder.host);
            made.map_err(|error| wasmtime::format_err!("cannot make the folder {shown}: {error}"))?;
        }
        let perms = if folder.write { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
        let opened = builder.preopened_dir(&folder.host, &folder.guest, perms);
        opened
            .map_err(|error| wasmtime::format_err!("cannot open the folder {shown} for {}: {error:#}", folder.guest))?;
    }
    Ok(std::mem::take(builder.build().filesystem()))
}

impl State {
    fn disk(&self) -> Arc<DiskUsage> {
        self.guest.generation.disk.clone()
    }

    /// Ends an attempt to open a file.
    fn opened(&mut self, descriptor: Option<&Resource<Descriptor>>) {
        let State { files, table, .. } = self;
        files.opened(table, descriptor);
    }

    /// The bytes by which a new size makes a file larger.
    fn growth(&mut self, descriptor: &Resource<Descriptor>, size: u64) -> u64 {
        let now = match self.filesystem().table.get(descriptor) {
            Ok(Descriptor::File(file)) => file.file.metadata().map_or(0, |metadata| metadata.len()),
            _ => size,
        };
        size.saturating_sub(now)
    }
}
