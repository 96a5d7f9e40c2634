//! Capabilities: what a module may do with other modules and with the host. `module.json` requests
//! them, and the operator grants them in `fanfare.json`.

mod denials;
mod dirs;
mod patterns;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::formats::ModuleOrAll;
use crate::call::channel::announced;
use crate::call::text::{NAME, line};
use crate::call::{CallError, event_type, stream_key, topic};

pub use denials::Denials;
pub use dirs::{DirAccess, Dirs};
pub use patterns::{
    ChannelNames, Endpoints, EventTypes, Origins, SecretNames, StoreNames, StreamKeys, Topics, Variables,
};

/// The entry that means every module, key, type or topic.
pub const ALL: &str = "*";

/// One kind of capability, a row of [`TABLE`].
#[derive(Debug, PartialEq, Eq)]
pub struct Capability {
    /// The key in `capabilities` and `grants`.
    pub key: &'static str,
    /// The action that it allows, such as `reload modules`. A name, such as that of a module or a
    /// key, follows a verb such as `call routes of`.
    pub verb: &'static str,
    /// What the entry `*` means after the verb.
    pub every: &'static str,
    /// The prefixes of the imports that need it.
    pub imports: &'static [&'static str],
}

/// The value of a capability, requested or granted.
trait Scope: Sized {
    /// Returns the part that `granted` does not cover.
    fn lacking(&self, granted: &Self) -> Self;

    /// Lists the requests in the value: one for each name, such as that of a module or a key, or
    /// one `None` for a capability without names.
    fn requests(&self) -> Vec<Option<String>>;

    /// Removes the module itself, because access to itself needs no grant.
    fn remove_own(&mut self, module: &str);
}

/// Generates [`Capabilities`] and [`TABLE`] from one list.
macro_rules! capabilities {
    ($($(#[$doc:meta])* $name:ident: $shape:ty, $verb:literal, $every:literal, imports $imports:expr;)*) => {
        /// The capabilities that a module requests or has. Access to itself needs none.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase", default, deny_unknown_fields)]
        pub struct Capabilities {
            $($(#[$doc])* pub $name: $shape,)*
        }

        /// All kinds of capabilities.
        pub const TABLE: &[Capability] = &[
            $(Capability { key: stringify!($name), verb: $verb, every: $every, imports: &$imports },)*
        ];

        impl Capabilities {
            /// Returns the requests that `granted` does not cover.
            pub fn lacking(&self, granted: &Capabilities) -> Capabilities {
                Capabilities { $($name: self.$name.lacking(&granted.$name),)* }
            }

            /// Removes access of the module to itself, which needs no grant.
            #[must_use]
            pub fn foreign(mut self, module: &str) -> Capabilities {
                $(self.$name.remove_own(module);)*
                self
            }

            fn values(&self) -> Vec<Vec<Option<String>>> {
                vec![$(self.$name.requests(),)*]
            }
        }
    };
}

capabilities! {
    /// The modules whose broadcasts the module may emit and gather, or `*` for all. Default none.
    broadcast: Modules, "emit broadcasts of", "every module", imports ["fanfare:module/broadcast"];
    /// The modules whose routes the module may call, or `*` for all. Default none.
    rpc: Modules, "call routes of", "every module", imports ["fanfare:module/rpc"];
    /// Whether the module may reload modules. Default false.
    reload: bool, "reload modules", "", imports [];
    /// The keys of live streams that the module may publish to and close, besides its own: a key,
    /// `prefix/*` for all keys that begin with `prefix/`, or `*` for all keys and for `publish-all`
    /// and `close-all`. Default none.
    sse: StreamKeys, "publish to streams of", "every key", imports ["fanfare:module/sse"];
    /// The channels that the module may publish to, read, subscribe to, and change the members of,
    /// besides its own: a channel, `prefix/*` for all channels that begin with `prefix/`, or `*`
    /// for all channels. Default none.
    channels: ChannelNames, "use the channels", "of every name", imports ["fanfare:module/channels"];
    /// The types of events that the module may emit, and subscribe to at run time, besides those
    /// that begin with `<module>/`: a type, `prefix/*` for all types that begin with `prefix/`, or
    /// `*` for all types. Default none.
    events: EventTypes, "emit and receive events of", "every type", imports ["fanfare:module/events"];
    /// The topics that the module may publish messages to: `<connection>:<topic>`, such as
    /// `redis:news`, or `redis.cache:news` for the connection `cache`. A `*` at the end stands for
    /// any text, and `*` alone for all topics. Default none.
    publish: Topics, "publish messages to", "every topic", imports ["fanfare:module/messages"];
    /// The topics that the module may subscribe to in `subscriptions`, written as in `publish`.
    /// Default none.
    subscribe: Topics, "receive messages of", "every topic", imports [];
    /// Whether the module may read and change sessions of clients, and send to them, besides the
    /// session of the call that it handles. Default false.
    sessions: bool, "use the sessions of all clients", "", imports [];
    /// The origins of web servers that the module may send requests to: a scheme, a host, and a
    /// port if it is not the usual one. `https://*.example.com` stands for all names below
    /// `example.com`, and `*` for all origins with a public address. Default none.
    http: Origins, "send requests to", "every public server",
        imports ["wasi:http/outgoing-handler", "wasi:http/client", "fanfare:module/fetch", "fanfare:module/fetch-blocking"];
    /// The folders that the module may use, by the path that it sees, with `ro` to read or `rw` to
    /// read and write. `modules.<name>.dirs` in `fanfare.json` says where each is. Default none.
    dirs: Dirs, "use the folder", "", imports ["wasi:filesystem/"];
    /// The endpoints that the module may open sockets to: `tcp://` or `udp://`, a host and a port.
    /// `*` as the port stands for every port, and `*.` in front of a name for all names below it.
    /// Default none.
    sockets: Endpoints, "open sockets to", "", imports ["wasi:sockets/"];
    /// The stores of keys and values that the module may use, by their names (`wasi:keyvalue`).
    /// Modules with the same name share the store. Default none.
    keyvalue: StoreNames, "use the store", "of every name", imports ["wasi:keyvalue/"];
    /// The variables that the module may read, by their names. Their values are those of
    /// `modules.<name>.env` in `fanfare.json`, else those of the host's own variables. Default
    /// none.
    env: Variables, "read the variable", "of every name", imports ["wasi:cli/environment"];
    /// The secrets that the module may read, by their names. `modules.<name>.secrets` in
    /// `fanfare.json` says where each is. Default none.
    secrets: SecretNames, "read the secret", "of every name", imports [];
}

/// Returns the key of the capability that an import needs, if it needs one.
pub fn of_import(name: &str) -> Option<&'static str> {
    TABLE.iter().find(|row| row.imports.iter().any(|prefix| name.starts_with(prefix))).map(|row| row.key)
}

impl Capabilities {
    /// Whether a module with these capabilities may publish to a stream key and close it.
    pub fn allows_key(&self, module: &str, key: &str) -> bool {
        stream_key::is_own(key, module) || self.sse.allow(key)
    }

    /// Whether a module with these capabilities may use a channel. The members of a channel are
    /// announced to the modules and clients that may use it.
    pub fn allows_channel(&self, module: &str, channel: &str) -> bool {
        let channel = announced(channel).unwrap_or(channel);
        stream_key::is_own(channel, module) || self.channels.allow(channel)
    }

    /// Whether a module with these capabilities may emit an event of this type, or subscribe to a
    /// pattern at run time.
    pub fn allows_event(&self, module: &str, wanted: &str) -> bool {
        event_type::is_own(wanted, module) || self.events.allow(wanted)
    }

    /// Whether a module with these capabilities may publish to a topic of a connection, which is
    /// `redis` or `redis.<name>`.
    pub fn allows_publish(&self, connection: &str, topic: &str) -> bool {
        topic::parse_connection(connection).is_some() && self.publish.allow(&format!("{connection}:{topic}"))
    }

    /// Whether a module with these capabilities may subscribe to a topic, or to a pattern of
    /// topics, of the connection with this kind (`redis`) and name.
    pub fn allows_subscribe(&self, kind: &str, name: &str, topic: &str) -> bool {
        self.subscribe.allow(&format!("{}:{topic}", topic::connection(kind, name)))
    }

    /// Lists each request separately: its kind, and the name if the kind has names.
    pub fn requests(&self) -> impl Iterator<Item = (&'static Capability, Option<String>)> {
        let requests = TABLE.iter().zip(self.values());
        requests.flat_map(|(kind, names)| names.into_iter().map(move |name| (kind, name)))
    }

    /// Whether there is a request of the kind `key`.
    pub fn has(&self, key: &str) -> bool {
        self.requests().any(|(kind, _)| kind.key == key)
    }

    /// Whether there are no requests.
    pub fn is_empty(&self) -> bool {
        self.requests().next().is_none()
    }

    /// Lists the requests that `granted` does not cover, as `broadcast: flags`, `rpc: chat`,
    /// `reload`.
    pub fn missing(&self, granted: &Capabilities) -> Vec<String> {
        let named = |(kind, name): (&Capability, Option<String>)| match name {
            Some(name) => format!("{}: {name}", kind.key),
            None => kind.key.to_owned(),
        };
        self.lacking(granted).requests().map(named).collect()
    }
}

/// The capabilities of an instance, and what its generation was refused.
#[derive(Debug, Clone, Default)]
pub struct Granted {
    capabilities: Capabilities,
    denials: Denials,
}

impl Granted {
    pub fn new(capabilities: Capabilities, denials: Denials) -> Granted {
        Granted { capabilities, denials }
    }

    /// See [`Denials::forbidden`].
    pub fn forbidden(&self, module: &str, key: &str, target: Option<&str>) -> CallError {
        self.denials.forbidden(module, key, target)
    }
}

impl Deref for Granted {
    type Target = Capabilities;

    fn deref(&self) -> &Capabilities {
        &self.capabilities
    }
}

impl From<Capabilities> for Granted {
    fn from(capabilities: Capabilities) -> Granted {
        Granted { capabilities, denials: Denials::default() }
    }
}

/// The error when `module` uses a capability that it does not have. `target` is the other module,
/// the key, the type or the topic, if the capability has names.
fn forbidden(module: &str, key: &str, target: Option<&str>) -> CallError {
    CallError::Forbidden(match target {
        Some(target) => format!(
            "{module} has no `{key}` capability for {0}: add \"{0}\" to capabilities.{key} in its module.json, then run `fanfare grant {module}`",
            line(target, NAME)
        ),
        None => {
            let verb = TABLE.iter().find(|row| row.key == key).map_or(key, |row| row.verb);
            format!(
                "{module} has no capability to {verb}: add `\"{key}\": true` to capabilities in its module.json, then run `fanfare grant {module}`"
            )
        }
    })
}

/// A list of module names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Modules(pub Vec<String>);

impl Modules {
    /// Whether the list has the module, or `*`.
    pub fn allow(&self, module: &str) -> bool {
        self.0.iter().any(|entry| entry == ALL || entry == module)
    }
}

impl JsonSchema for Modules {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Modules".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Vec::<ModuleOrAll>::json_schema(generator)
    }
}

impl Scope for Modules {
    fn lacking(&self, granted: &Modules) -> Modules {
        let mut lacking: Vec<String> = self.0.iter().filter(|module| !granted.allow(module)).cloned().collect();
        lacking.sort();
        lacking.dedup();
        Modules(lacking)
    }

    fn requests(&self) -> Vec<Option<String>> {
        self.0.iter().cloned().map(Some).collect()
    }

    fn remove_own(&mut self, module: &str) {
        self.0.retain(|entry| entry != module);
    }
}

impl Scope for bool {
    fn lacking(&self, granted: &bool) -> bool {
        *self && !granted
    }

    fn requests(&self) -> Vec<Option<String>> {
        if *self { vec![None] } else { Vec::new() }
    }

    fn remove_own(&mut self, _: &str) {}
}
