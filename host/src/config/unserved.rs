//! Keys and names that the design has and this version does not serve yet. Each part, when it comes, takes its own out.

/// Keys of `module.json`.
pub const MODULE: &[&str] = &["schedules", "subscriptions", "hooks", "channels"];

/// Keys of `fanfare.json`.
pub const CONFIG: &[&str] = &["brokers", "events", "sse", "websocket", "cluster", "redis"];

/// Keys of `capabilities` and of `grants`.
pub const CAPABILITIES: &[&str] = &["http", "files", "environment", "secrets"];

/// Names in `middlewares`.
pub const MIDDLEWARES: &[&str] = &["session"];
