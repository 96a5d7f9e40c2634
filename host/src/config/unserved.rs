//! Keys and names that the design has and this version does not serve yet. Each part, when it comes, takes its own out.

/// Keys of `module.json`.
pub const MODULE: &[&str] = &["schedules", "subscriptions", "hooks", "channels", "streams", "sockets"];

/// Keys of `fanfare.json`.
pub const CONFIG: &[&str] = &["brokers", "options", "events", "sse", "websocket", "hub", "cluster", "redis"];

/// Keys of `capabilities` and of `grants`.
pub const CAPABILITIES: &[&str] =
    &["http", "sse", "channels", "sessions", "events", "publish", "env", "dirs", "secrets"];

/// Names in `middlewares`.
pub const MIDDLEWARES: &[&str] = &["session"];
