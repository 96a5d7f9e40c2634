//! The files that an instance has open.

use std::fs::File;
use std::sync::{Arc, Weak};

use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::filesystem::Descriptor;

use crate::call::bounds;

/// The most bytes of a stream that are counted against `limits.disk` at once.
pub const STEP: u64 = 64 << 10;

/// The place of a stream. Dropping it frees the place.
pub struct Place(#[expect(dead_code, reason = "its count is what counts")] Arc<()>);

/// The files that an instance has open.
pub struct OpenFiles {
    open: Vec<Weak<File>>,
    /// The streams of WASI 0.3, which hold no resource.
    streams: Vec<Weak<()>>,
    /// Those that are being opened.
    opening: usize,
    most: usize,
}

impl OpenFiles {
    /// With `limits.openFiles`.
    pub fn new(most: u32) -> OpenFiles {
        OpenFiles { open: Vec::new(), streams: Vec::new(), opening: 0, most: most as usize }
    }

    /// Takes a place for a file that is about to be opened. [`OpenFiles::opened`] must follow.
    pub fn open(&mut self) -> bool {
        self.open.retain(|file| file.strong_count() > 0);
        let fits = self.has_room(self.open.len() + self.opening);
        self.opening += usize::from(fits);
        fits
    }

    /// Takes a place for a stream, of which there may be as many as files.
    pub fn stream(&mut self) -> Option<Place> {
        self.streams.retain(|stream| stream.strong_count() > 0);
        if !self.has_room(self.streams.len()) {
            return None;
        }
        let place = Arc::new(());
        self.streams.push(Arc::downgrade(&place));
        Some(Place(place))
    }

    /// Whether one more is fewer than the limit.
    pub fn has_room(&self, now: usize) -> bool {
        let fits = now < self.most;
        if !fits {
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
