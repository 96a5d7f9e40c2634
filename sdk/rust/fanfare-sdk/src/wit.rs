//! The bindings of `wit/`, generated at compile time.
//!
//! One world imports everything (what a module does not use is left out of its component); each export has
//! a world of its own, so that a component exports only what its module declares.
#![allow(missing_docs, unsafe_code, clippy::all, clippy::pedantic)]

wit_bindgen::generate!({
    path: "../../../wit",
    world: "fanfare:module/imports@0.1.0",
    generate_all,
    additional_derives: [PartialEq],
});

pub use fanfare::module::{broadcast, config, host, http, rpc, types};

pub mod handler {
    wit_bindgen::generate!({
        path: "../../../wit",
        inline: "package fanfare:sdk-handler; world sdk-handler { export fanfare:module/handler@0.1.0; }",
        with: { "fanfare:module/types@0.1.0": crate::wit::types, "fanfare:module/handler@0.1.0": generate },
        export_macro_name: "__export_handler",
        pub_export_macro: true,
        default_bindings_module: "fanfare_sdk::wit::handler",
    });
    pub use exports::fanfare::module::handler::Guest;
}

pub mod describe {
    wit_bindgen::generate!({
        path: "../../../wit",
        inline: "package fanfare:sdk-describe; world sdk-describe { export fanfare:module/describe@0.1.0; }",
        with: { "fanfare:module/describe@0.1.0": generate },
        export_macro_name: "__export_describe",
        pub_export_macro: true,
        default_bindings_module: "fanfare_sdk::wit::describe",
    });
    pub use exports::fanfare::module::describe::Guest;
}

pub mod snapshot {
    wit_bindgen::generate!({
        path: "../../../wit",
        inline: "package fanfare:sdk-snapshot; world sdk-snapshot { export fanfare:module/snapshot@0.1.0; }",
        with: { "fanfare:module/types@0.1.0": crate::wit::types, "fanfare:module/snapshot@0.1.0": generate },
        export_macro_name: "__export_snapshot",
        pub_export_macro: true,
        default_bindings_module: "fanfare_sdk::wit::snapshot",
    });
    pub use exports::fanfare::module::snapshot::Guest;
}
