//! Items for the program `fanfare`, the integration tests, the benchmarks and the fuzz targets.
//! Embedders do not need them, and they change without notice.

pub use crate::bindings::fanfare::module::types as wit;
pub use crate::call::{
    Call, CallError, CallOptions, Emission, GatherEntry, IsolateId, Payload, Peer, PeerBroadcast, PeerCall, Problem,
    Route, RouteName, StartupReason, Target, Trigger,
};
pub use crate::dispatch::{Actor, Dispatch};
pub use crate::document::merge::overlay_json;
pub use crate::document::{KeyPath, Node};
pub use crate::engine::{Cache, Engine};
pub use crate::host::{EchoServer, EventServer, Inspection, Inspector, check_client_keys};
pub use crate::isolate::Probe;
pub use crate::net::dial;
pub use crate::ports::{BoxFuture, Caller, ChangePorts, Events, Messages, Peers, Reached, Reloads};
pub use crate::registry::{
    Access, ComponentInfo, ComponentInfoError, Manifest, ModuleState, NoManifest, PatternTable, PlaceKinds, PlacesOf,
    Roster, RouteLookup, RouteSpec, Router, component_info,
};
pub use crate::swap::{ReloadOptions, Swapper};
pub use crate::triggers::sse::{EventParser, ServerEvent};

/// The fuzz targets: one function for each input that comes from outside.
#[cfg(any(test, fuzzing))]
pub mod fuzzing {
    pub use crate::fuzzing::*;
}

/// Threads for work that blocks.
pub mod blocking {
    pub use crate::blocking::check_thread;
}

/// The limits of the process.
pub mod limits {
    pub use crate::engine::AddressSpace;
    pub use crate::net::Descriptors;
}

/// Escaping of texts from guests and clients.
pub mod text {
    pub use crate::call::text::{is_dangerous, line};
}

/// Reading and writing files.
pub mod files {
    pub use crate::files::watch::{next_change, watcher};
    pub use crate::files::{PUBLIC, ReadError, digest_of, hex, make_private, read, write_whole};
}

/// `fanfare.json`: its formats, its schema and its variables.
pub mod config {
    pub use crate::config::capabilities::of_import;
    pub use crate::config::load::from_text;
    pub use crate::config::nats_address::NatsAddress;
    pub use crate::config::{FILE_NAME, is_development, is_loopback};

    pub mod formats {
        pub use crate::config::formats::{Label, METHOD_RULE, MODULE_RULE, MethodName, address, is_module, method};
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
    pub mod json_schema {
        pub use crate::document::json_schema::{Field, Kind, Object, Schema, Type};
    }
    pub mod shape {
        pub use crate::document::shape::{Nulls, did_you_mean};
    }
    pub mod source {
        pub use crate::document::source::{OPTIONS, parse, read, shown};
    }
}

/// `module.json`, and the module folders.
pub mod manifest {
    pub use crate::registry::manifest::raw::{Middleware, schema};
    pub use crate::registry::manifest::{
        Callee, CalleeName, FILE_NAME, FolderState, ManifestError, MissingComponent, ModuleFolder, PayloadSchema,
        Route, Stray, check_brokers, check_connections, check_grants, check_subjects, effective_limits,
        effective_schedules, folder_names, read_folder, scan, strays, unknown_schedules,
    };
}
