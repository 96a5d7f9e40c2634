//! A module as its author describes it, checked.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use http::Method;
use serde_json::{Map, Value};

use super::raw::{Isolation, Middleware, Rollout};
use crate::config::{Capabilities, LimitsPatch};
use crate::document::{Faults, Node};
use crate::registry::segment::Segment;

/// A module as its author describes it, checked.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The name of its folder: `[a-z][a-z0-9-]{0,63}`.
    pub name: String,
    /// Its folder, absolute.
    pub dir: PathBuf,
    /// The file itself.
    pub file: PathBuf,
    /// The component, absolute and below `dir`. It need not be there.
    pub component: PathBuf,
    pub routes: Vec<Route>,
    /// The index in `routes` of each broadcast's route, by the broadcast's name.
    pub broadcasts: BTreeMap<String, usize>,
    /// What a new instance runs before it serves, by name and in the order of the names.
    pub startups: BTreeMap<String, Startup>,
    /// How it is built from source, if it says so.
    pub build: Option<Build>,
    /// Its values before the operator's.
    pub config: Map<String, Value>,
    /// What it asks to do beyond its own affairs. Its own name is left out: that needs no grant.
    pub capabilities: Capabilities,
    /// The limits it asks for.
    pub limits: LimitsPatch,
    /// Whether instances stay between calls. Default they do.
    pub isolation: Isolation,
    /// How a changed generation is tried out first.
    pub rollout: Option<Rollout>,
    /// The bytes of the file, for the digest of a generation.
    pub digest_bytes: Arc<[u8]>,
    /// The file with the place of every key.
    pub source: Arc<Node>,
}

/// An entry that calls can reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub method: Method,
    /// Empty for the root of the module.
    pub path: Vec<Segment>,
    /// The name that the guest gets.
    pub handler: String,
    pub middlewares: Vec<Middleware>,
    /// The path as it is written.
    pub text: String,
}

/// A call that a new instance runs before it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Startup {
    /// The index in `routes`.
    pub route: usize,
    /// In every isolate that holds the module; else in the lead worker only.
    pub everywhere: bool,
}

/// How a module is built. Only `fanfare build` and `fanfare dev` run it, never the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// For the shell, in the module's folder.
    pub command: String,
    /// Files and folders, relative to the module's, whose change asks for a build.
    pub watch: Vec<PathBuf>,
}

/// Why a `module.json` is refused: every fault in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{faults}")]
pub struct ManifestError {
    pub faults: Faults,
}

impl Manifest {
    /// Whether the component file is there.
    pub fn has_component(&self) -> bool {
        self.component.is_file()
    }
}
