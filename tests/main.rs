//! The integration tests. Each starts a real host on free ports, with real modules and clients.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod harness;

mod admin;
mod architecture;
mod attacks;
mod broadcasts;
mod browsers;
mod capabilities;
mod channels;
mod cli;
mod cluster;
mod embedding;
mod event_service;
mod events;
mod examples;
mod failures;
mod foreign;
mod frozen;
mod hooks;
mod http;
mod kills;
mod languages;
mod limits;
mod middlewares;
mod modules;
mod redis;
mod reload;
mod rpc;
mod schedules;
mod sessions;
mod socketcluster;
mod streams;
mod subscriptions;
mod swap;
mod websockets;
