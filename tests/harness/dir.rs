//! The folders of tests.

use std::fs;
use std::path::{Path, PathBuf};

use super::root;

/// A folder of one test, which is removed when the test ends.
pub struct TempDir(tempfile::TempDir);

impl TempDir {
    pub fn new() -> TempDir {
        let above = root().join("target/tmp");
        fs::create_dir_all(&above).unwrap();
        TempDir(tempfile::Builder::new().prefix("test-").tempdir_in(above).unwrap())
    }

    /// A folder outside the checkout, which is a project.
    pub fn outside() -> TempDir {
        TempDir(tempfile::Builder::new().prefix("fanfare-test-").tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The state folder of the host.
    pub const STATE: &str = "state";

    /// Creates the state folder. All tests share the cache of compiled components in it, and
    /// nothing else.
    pub fn make_state_dir(&self) {
        let (shared, own) = (shared_state_dir().join("cache"), self.path().join(TempDir::STATE));
        fs::create_dir_all(&own).unwrap();
        fs::create_dir_all(&shared).unwrap();
        std::os::unix::fs::symlink(shared, own.join("cache")).unwrap();
    }

    /// Writes a file, and creates the folders above it.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }
}

/// Returns the folder with the compiled components, which all tests share.
fn shared_state_dir() -> PathBuf {
    root().join("target/tmp/shared-state")
}
