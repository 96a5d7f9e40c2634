//! The parts of the host that the program `fanfare`, the integration tests, the benchmarks and the fuzz targets use,
//! and embedders do not. It changes without notice.

pub use crate::bindings::fanfare::module::types as wit;
pub use crate::call::{
    Call, CallError, CallOptions, Emission, Entry, IsolateId, Payload, Peer, PeerBroadcast, PeerCall, Problem, Route,
    RouteName, StartupReason, Target, Trigger,
};
pub use crate::dispatch::{Actor, Dispatch};
pub use crate::document::merge::overlay_json;
pub use crate::document::{KeyPath, Node};
pub use crate::engine::{Cache, Compilation, Engine, run_child};
pub use crate::host::{Inspector, Seen};
pub use crate::isolate::Probe;
pub use crate::net::{original_limit, raise_limit};
pub use crate::ports::{BoxFuture, Peers, Reloads};
pub use crate::registry::{
    Access, Anatomy, AnatomyError, Found, Manifest, ModuleState, PlaceKinds, Placing, Roster, RouteSpec, Router,
    anatomy,
};
pub use crate::swap::{Compiling, Logged, Progress, Swapper, Want};

/// One function for each boundary where bytes from outside enter.
#[cfg(any(test, fuzzing))]
pub mod fuzzing {
    pub use crate::fuzzing::*;
}

/// Texts that guests and clients have made.
pub mod text {
    pub use crate::call::text::{is_dangerous, line};
}

/// Reading and writing files.
pub mod files {
    pub use crate::files::watch::{settled, watcher};
    pub use crate::files::{PUBLIC, ReadError, digest_of, hex, read, write_whole};
}

/// `fanfare.json` and what it is made of.
pub mod config {
    pub use crate::config::FILE_NAME;
    pub use crate::config::load::from_text;

    pub mod formats {
        pub use crate::config::formats::{Label, METHOD_RULE, MODULE_RULE, MethodName, is_module, method};
    }
    pub mod schema {
        pub use crate::config::schema::{check, config_document, document, of};
    }
    pub mod variables {
        pub use crate::config::variables::{OTHERS, known};
    }
}

/// JSON documents that people write.
pub mod document {
    pub mod shape {
        pub use crate::document::shape::{Nulls, did_you_mean};
    }
    pub mod source {
        pub use crate::document::source::{OPTIONS, parse, read, shown};
    }
}

/// `module.json` and the folders that have one.
pub mod manifest {
    pub use crate::registry::manifest::raw::schema;
    pub use crate::registry::manifest::{
        FILE_NAME, Found, ManifestError, Scanned, check_grants, effective_limits, folders, look, scan,
    };
}
