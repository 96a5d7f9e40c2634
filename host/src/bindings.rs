//! Bindings that wasmtime generates from `wit/`, and from the WASI packages that no crate serves.
#![allow(unsafe_code, missing_docs, clippy::all, clippy::restriction)]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "all",
    imports: {
        "fanfare:module/broadcast.gather": store | trappable,
        "fanfare:module/durable.emit": store | trappable,
        "fanfare:module/rpc.call": store | trappable,
        "fanfare:module/rpc.call-every": store | trappable,
        "fanfare:module/master-await.send": store | trappable,
        "fanfare:module/sessions-await.push": store | trappable,
        "fanfare:module/sessions-await.ask": store | trappable,
        "fanfare:module/sessions-await.apply": store | trappable,
        "fanfare:module/sessions-await.read": store | trappable,
        "fanfare:module/sessions-await.write": store | trappable,
        "fanfare:module/sessions-await.find": store | trappable,
        "fanfare:module/channels-await.publish": store | trappable,
        "fanfare:module/channels-await.history": store | trappable,
        "fanfare:module/channels-await.members": store | trappable,
        "fanfare:module/fetch.send": store | trappable,
        // These wait if the session is on another node.
        "fanfare:module/sessions.bind": async,
        "fanfare:module/sessions.authenticate": async,
        "fanfare:module/sessions.join": async,
        "fanfare:module/sessions.leave": async,
        "fanfare:module/broadcast-blocking.gather": async,
        "fanfare:module/durable-blocking.emit": async,
        "fanfare:module/rpc-blocking.call": async,
        "fanfare:module/rpc-blocking.call-every": async,
        "fanfare:module/master-blocking.send": async,
        "fanfare:module/sessions-blocking.push": async,
        "fanfare:module/sessions-blocking.ask": async,
        "fanfare:module/sessions-blocking.apply": async,
        "fanfare:module/sessions-blocking.read": async,
        "fanfare:module/sessions-blocking.write": async,
        "fanfare:module/sessions-blocking.find": async,
        "fanfare:module/channels-blocking.publish": async,
        "fanfare:module/channels-blocking.history": async,
        "fanfare:module/channels-blocking.members": async,
        "fanfare:module/fetch-blocking.send": async,
    },
});

/// WASI packages in the versions that other hosts serve, too.
pub mod wasi {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "fanfare:wasi/imports",
        imports: {
            "wasi:keyvalue/store": async | trappable,
            "wasi:keyvalue/atomics": async | trappable,
            "wasi:keyvalue/batch": async | trappable,
        },
        with: {
            "wasi:keyvalue/store.bucket": crate::stores::Bucket,
        },
    });
}
