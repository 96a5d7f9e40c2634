//! The inputs that settings are read from.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The name of the settings file.
pub const FILE_NAME: &str = "fanfare.json";

/// The inputs that settings are read from: the file, the variables and the flags.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file to read. `None` means `fanfare.json` in `dir` if it exists, else the defaults.
    pub config: Option<PathBuf>,
    /// The folder to search for `fanfare.json`. An empty path means the current folder.
    pub dir: PathBuf,
    /// The name of the `environments` section that applies. `None` means the variable `FANFARE_ENV`
    /// if it is set, else `development`.
    pub environment: Option<String>,
    /// The variables of the process. Those that do not begin with `FANFARE_` are ignored.
    pub variables: BTreeMap<String, String>,
    /// Values from the command line. They override all other sources.
    pub flags: Flags,
}

/// Values from the command line, not parsed yet.
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
    /// `--node`, for `node.id`: the server of `cluster.servers` that this node is.
    pub node: Option<String>,
}
