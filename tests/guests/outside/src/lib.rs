//! Reaches outside of the host through WASI: variables, configuration, HTTP, files, sockets and
//! stores. Each route takes one command as JSON. It returns `{"error": ".."}` when the attempt
//! fails.

mod files;
mod next;
mod requests;
mod sockets;
mod store;

use fanfare_sdk::prelude::*;

mod wasi {
    wit_bindgen::generate!({
        path: "../../../host/wit",
        world: "fanfare:wasi/imports",
        generate_all,
    });
}

use wasi::wasi::config::store as config;
use wasi::wasi::logging::logging;

/// Converts a result to the reply of a route.
fn reply<T: Into<Value>, E: std::fmt::Display>(result: Result<T, E>) -> Json<Value> {
    Json(result.map_or_else(|error| json!({ "error": error.to_string() }), Into::into))
}

/// Returns the variable that the body names, or `null`.
#[handler]
fn variable(name: Text) -> Json<Value> {
    Json(std::env::var(&*name).ok().into())
}

/// Returns what `fanfare:module/config` and `wasi:config/store` have for a key, and all keys.
#[handler]
fn configured(key: Text) -> Json<Value> {
    let own: Option<Value> = fanfare_sdk::config::get(&format!("/{}", *key)).ok().flatten();
    let all = config::get_all().unwrap_or_default();
    let all: Vec<String> = all.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    Json(json!({ "own": own, "wasi": config::get(&key).ok().flatten(), "all": all }))
}

#[handler]
fn write_log(message: Text) {
    logging::log(logging::Level::Error, "the context", &message);
}

#[handler]
fn fetch(command: Json<requests::Fetch>) -> Json<Value> {
    reply(requests::fetch(&command))
}

#[handler]
fn use_files(command: Json<files::Command>) -> Json<Value> {
    reply(files::run(&command))
}

#[handler]
fn use_sockets(command: Json<sockets::Command>) -> Json<Value> {
    reply(sockets::run(&command))
}

#[handler]
fn use_store(command: Json<store::Command>) -> Json<Value> {
    reply(store::run(&command))
}

/// The same through WASI 0.3.
#[handler]
async fn use_next(command: Json<next::Command>) -> Json<Value> {
    reply(next::run(command.0).await)
}

fanfare_sdk::module!(variable, configured, write_log, fetch, use_files, use_sockets, use_store, use_next);
