//! Triggers: each turns an input, such as an HTTP request, into a call of a route.

pub mod brokers;
pub mod channels;
pub mod developer;
pub mod events;
pub mod hooks;
pub mod http;
pub mod nats;
pub mod redis;
pub mod schedules;
pub mod sse;
pub mod subscriptions;
pub mod websocket;
