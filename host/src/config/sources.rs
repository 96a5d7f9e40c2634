//! Where settings come from.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The name of the file.
pub const FILE_NAME: &str = "fanfare.json";

/// Where settings come from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file to read. `None`: `fanfare.json` in `dir` if it is there, else the defaults.
    pub config: Option<PathBuf>,
    /// The folder to look in; the current one when empty.
    pub dir: PathBuf,
    /// Which `environments` section applies. `None`: the variable `FANFARE_ENV`, else `development`.
    pub environment: Option<String>,
    /// The variables of the process; those that do not begin with `FANFARE_` do not matter.
    pub variables: BTreeMap<String, String>,
    /// Values from the command line; they count most.
    pub flags: Flags,
}

/// Values from the command line, as they were written.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--modules`, for `modulesDir`. Relative to the current folder.
    pub modules: Option<String>,
    /// `--workers`.
    pub workers: Option<String>,
    /// `--listen`, for `http.listen`.
    pub listen: Option<String>,
    /// `--admin`, for `admin.listen`.
    pub admin: Option<String>,
}
