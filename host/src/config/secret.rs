//! Secrets of the settings: the settings name the file or the variable that has the secret, so that
//! the secret is in no settings file and in no output.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::document::source::{read_line, read_text};

/// The longest secret, in bytes.
const MAX: u64 = 4_096;

/// The largest file with a key of several lines, in bytes.
const MAX_LINES: u64 = 64 * 1_024;

/// Where a secret is.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// No secret is set.
    None,
    /// The first line of a file. It is read each time, so that a new secret needs no restart.
    File(PathBuf),
    /// The value of a variable, as it was when the host started.
    Variable { name: String, value: Option<String> },
}

/// The value is not shown.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Secret::None => f.write_str("none"),
            Secret::File(path) => write!(f, "in the file {}", path.display()),
            Secret::Variable { name, .. } => write!(f, "in the variable {name}"),
        }
    }
}

impl Secret {
    /// Makes a secret of two keys of the settings, of which at most one is set. A relative path
    /// starts at `root`.
    pub fn new(
        file: Option<&str>,
        variable: Option<&str>,
        root: &Path,
        variables: &BTreeMap<String, String>,
    ) -> Secret {
        match (file, variable) {
            (Some(file), _) => Secret::File(root.join(file)),
            (None, Some(name)) => Secret::Variable { name: name.to_owned(), value: variables.get(name).cloned() },
            (None, None) => Secret::None,
        }
    }

    /// Reads the secret. Blocks while it reads a file. The error says what is wrong and contains no
    /// part of the secret.
    pub fn read(&self) -> Result<Option<String>, String> {
        self.read_with(|path| read_line(path, MAX))
    }

    /// Like [`Secret::read`], but reads the whole file, for a key of several lines.
    pub fn read_lines(&self) -> Result<Option<String>, String> {
        self.read_with(|path| read_text(path, MAX_LINES))
    }

    fn read_with(&self, read: impl FnOnce(&Path) -> Result<String, String>) -> Result<Option<String>, String> {
        match self {
            Secret::None => Ok(None),
            Secret::File(path) => read(path).map(Some),
            Secret::Variable { name, value } => match value.as_deref().filter(|value| !value.is_empty()) {
                Some(value) => Ok(Some(value.to_owned())),
                None => Err(format!("the variable {name} is not set: set it, and start the host again")),
            },
        }
    }
}
