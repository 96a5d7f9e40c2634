//! The pattern of each format in the schemas.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::call::{MAX_PATH, event_type, stream_key, topic};
use crate::config::origin;

/// The longest sub-protocol of a WebSocket, in bytes.
pub(super) const MAX_SUB_PROTOCOL: usize = 64;

/// The longest name of a stream or a consumer of JetStream, in bytes.
pub(super) const MAX_NATS_NAME: usize = 128;

/// The longest argument of a program, in bytes.
pub(super) const MAX_ARGUMENT: usize = 4_096;

/// The longest value of a header field of the settings, in bytes.
pub(super) const MAX_HEADER_TEXT: usize = 4_096;

/// The longest path of the streams, in bytes.
pub(super) const MAX_STREAM_PATH: usize = 256;

macro_rules! formats {
    ($($(#[$doc:meta])* $name:ident = $format:literal, $pattern:literal $(, at most $most:expr)?;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", $("maxLength": $most,)? "pattern": $pattern, "x-format": $format })
            }
        }
    )*};
}

formats! {
    /// An IP address and port. `localhost` and an empty address mean `127.0.0.1`.
    Address = "address", r"^(\[[0-9a-fA-F:.%]+\]|[0-9.]+|[Ll][Oo][Cc][Aa][Ll][Hh][Oo][Ss][Tt])?:[0-9]{1,5}$";
    /// A host name, without scheme and port.
    Domain = "domain", r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$";
    /// A web origin, or `*`.
    CorsOrigin = "origin", r"^(\*|https?://[a-z0-9.:\[\]-]+)$";
    /// The name of a header field.
    HeaderName = "header", r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";
    /// The value of a header field.
    HeaderText = "header-text", r"^[^\u0000-\u0008\u000a-\u001f\u007f]*$", at most MAX_HEADER_TEXT;
    /// The path of all streams.
    StreamPath = "stream-path", r"^/[!-\x22$->@-~]+$", at most MAX_STREAM_PATH;
    /// The path below which the histories of channels are.
    HistoryPath = "history-path", r"^/[!-\x22$->@-~]+$", at most MAX_STREAM_PATH;
    /// The path of WebSockets.
    SocketPath = "socket-path", r"^/[!-\x22$->@-~]+$", at most MAX_STREAM_PATH;
    /// The URL of an event service: `http://host:port`.
    ServiceUrl = "service-url", r"^http://[A-Za-z0-9.:\[\]-]+:[0-9]{1,5}$", at most 256;
    /// The name of a node or of a server type.
    NodeName = "node", r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$";
    /// The name of a module.
    ModuleName = "module", r"^[a-z][a-z0-9-]{0,63}$";
    /// The name of a module, or `*` for all.
    ModuleOrAll = "module-or-all", r"^(\*|[a-z][a-z0-9-]{0,63})$";
    /// A key of live streams, `prefix/*`, or `*` for all.
    StreamKeys = "stream-keys", r"^[^\u0000-\u001f\u007f-\u009f]+$", at most stream_key::MAX;
    /// A channel, `prefix/*`, or `*` for all.
    ChannelNames = "channel-names", r"^[^\u0000-\u001f\u007f-\u009f]+$", at most stream_key::MAX;
    /// A type of events, `prefix/*`, or `*` for all.
    EventTypes = "event-types", r"^[^\u0000-\u001f\u007f-\u009f]+$", at most event_type::MAX;
    /// A connection and a topic of it, such as `redis:news`, or `*` for all.
    Topics = "topics", r"^(\*|(nats|redis(\.[^:\u0000-\u001f\u007f-\u009f]+)?):[^\u0000-\u001f\u007f-\u009f]+)$", at most topic::MAX_ENTRY;
    /// A channel, a pattern of channels or a stream of Redis.
    RedisName = "redis-name", r"^[^\u0000-\u001f\u007f-\u009f]+$", at most topic::MAX;
    /// A subject of NATS, with wildcards after its first token.
    NatsSubject = "nats-subject", r"^[^\s.*>$_\u0000-\u001f\u007f-\u009f][^\s.*>\u0000-\u001f\u007f-\u009f]*(\.(\*|[^\s.*>\u0000-\u001f\u007f-\u009f]+))*(\.>)?$", at most topic::MAX;
    /// The name of a stream, a consumer or a domain of JetStream.
    NatsName = "nats-name", r"^[^\s.*>/\\\u0000-\u001f\u007f-\u009f]+$", at most MAX_NATS_NAME;
    /// The name of a connection to an outside server.
    ConnectionName = "connection", r"^[a-z][a-z0-9-]{0,63}$";
    /// The begin of the keys of a store on a Redis server.
    KeyPrefix = "key-prefix", r"^[^\u0000-\u001f\u007f-\u009f]*$", at most 256;
    /// The key of a live stream, in which `{topic}` stands for the topic of a message.
    KeyTemplate = "key-template", r"^[^\u0000-\u001f\u007f-\u009f]*$", at most stream_key::MAX;
    /// The type of server-sent events.
    StreamEventName = "stream-event", r"^[^\u0000\n\r]+$", at most 1_024;
    /// A sub-protocol of a WebSocket.
    SubProtocol = "sub-protocol", r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", at most MAX_SUB_PROTOCOL;
    /// A file system path.
    FilePath = "file-path", r"^[^\u0000]+$";
    /// The path of a route below its module.
    RoutePath = "route-path", r"^([^/\s?#]+(/[^/\s?#]+){0,63})?$", at most MAX_PATH;
    /// A route of the module: `[METHOD ]path`.
    RouteRef = "route-ref", r"^(([Gg][Ee][Tt]|[Pp][Oo][Ss][Tt]|[Pp][Uu][Tt]|[Pp][Aa][Tt][Cc][Hh]|[Dd][Ee][Ll][Ee][Tt][Ee]) )?([^/\s?#]+(/[^/\s?#]+){0,63})?$", at most MAX_PATH + "DELETE ".len();
    /// A middleware of the host, or a route of a module: `[METHOD ]module/path[?query]`.
    MiddlewareName = "middleware", r"^(inner|session|test|cors|((DELETE|GET|PATCH|POST|PUT) )?([a-z][a-z0-9-]{0,63})?[/.][^\s#]*)$", at most MAX_PATH;
    /// An HTTP method that a route may have, in upper or lower case.
    MethodName = "method", r"^([Gg][Ee][Tt]|[Pp][Oo][Ss][Tt]|[Pp][Uu][Tt]|[Pp][Aa][Tt][Cc][Hh]|[Dd][Ee][Ll][Ee][Tt][Ee])$";
    /// A name that the author chooses.
    Label = "label", r"^\S{1,128}$";
    /// A cron expression.
    CronExpression = "cron", r"^\s*(@[A-Za-z]+|\S+(\s+\S+){4,5})\s*$";
    /// The IANA name of a time zone.
    TimeZoneName = "time-zone", r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$";
    /// A date with a time.
    DateTimeText = "date-time", r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}.*$";
    /// The name of an environment.
    EnvironmentName = "environment", r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$";
    /// The address of a Redis server.
    RedisUrl = "redis-url", r"^rediss?://[^\s@/?#]+/?$";
    /// The addresses of NATS servers.
    NatsUrls = "nats-urls", r"^(nats|tls)://[^\s@/?#]+/?(,\s*(nats|tls)://[^\s@/?#]+/?)*$", at most 4_096;
    /// The name of a variable of the process.
    VariableName = "variable", r"^[A-Za-z_][A-Za-z0-9_]{0,127}$";
    /// An origin of a web server, `*.` in front of its name, or `*` for all.
    HttpOrigin = "http-origin", r"^(\*|https?://(\*\.)?[a-z0-9.:\[\]-]+)$", at most origin::MAX;
    /// An address, a network or a name.
    NetworkName = "network", r"^(\*\.)?[0-9a-z.:-]+(/[0-9]{1,3})?$", at most 256;
    /// An endpoint of sockets.
    SocketEndpoint = "endpoint", r"^(tcp|udp)://(\*\.)?[a-z0-9.:\[\]-]+:(\*|[0-9]{1,5})$", at most origin::MAX;
    /// The name of a secret.
    SecretName = "secret", r"^[A-Za-z][A-Za-z0-9_-]{0,63}$";
    /// An argument of a program.
    Argument = "argument", r"^[^\u0000]*$", at most MAX_ARGUMENT;
    /// A shell command.
    Command = "command", r"^[^\u0000]*[^\u0000\s][^\u0000]*$";
}
