//! The files that an instance has open.

use std::fs::File;
use std::sync::{Arc, Weak};

use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::filesystem::Descriptor;

use crate::call::bounds;

/// The most bytes of a stream that are counted against `limits.disk` at once.
pub const STEP: u64 = 64 << 10;

/// The files that an instance has open.
pub struct OpenFiles {
    open: Vec<Weak<File>>,
    /// Those that are being opened.
    opening: usize,
    most: usize,
}

impl OpenFiles {
    /// With `limits.openFiles`.
    pub fn new(most: u32) -> OpenFiles {
        OpenFiles { open: Vec::new(), opening: 0, most: most as usize }
    }

    /// Takes a place for a file that is about to be opened. [`OpenFiles::opened`] must follow.
    pub fn open(&mut self) -> bool {
        self.open.retain(|file| file.strong_count() > 0);
        let fits = self.open.len() + self.opening < self.most;
        if fits {
            self.opening += 1;
        } else {
            bounds::OPEN_FILES.count();
        }
        fits
    }

    /// Ends an attempt to open a file: the descriptor, if there is one, counts until it is closed.
    pub fn opened(&mut self, table: &ResourceTable, descriptor: Option<&Resource<Descriptor>>) {
        self.opening = self.opening.saturating_sub(1);
        let file = match descriptor.and_then(|descriptor| table.get(descriptor).ok()) {
            Some(Descriptor::File(file)) => &file.file,
            Some(Descriptor::Dir(dir)) => &dir.dir,
            None => return,
        };
        self.open.push(Arc::downgrade(file));
    }
}
