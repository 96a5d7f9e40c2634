//! The bindings of `wit/`. `sdk/generate` of the checkout writes the files in `wit/bindings`.
//!
//! One world imports every interface; the linker removes those that the module does not use. Each
//! export has a world of its own, so that a component exports only what its module declares.
#![allow(missing_docs, unsafe_code, clippy::all, clippy::pedantic)]

include!("wit/bindings/imports.rs");

pub use fanfare::module::{
    broadcast, channels, channels_await, config, durable, events, host, http, master, master_await, messages, nodes,
    rpc, sessions, sessions_await, sse, types,
};

pub mod handler {
    include!("wit/bindings/handler.rs");
    pub use exports::fanfare::module::handler::Guest;

    // The generated export leaks: an `async` export of wit-bindgen 0.63 never frees the record of
    // its parameters, so each call would leave 152 bytes in an instance that lives on. The macro
    // for the whole world is still needed, because it embeds the description of the world. So it
    // calls the functions below, which free the record.

    /// The generated macro looks for the functions of the interface on this path.
    #[cfg(target_family = "wasm")]
    pub mod freeing {
        pub mod exports {
            pub mod fanfare {
                pub mod module {
                    pub mod handler {
                        pub use crate::__export_freeing as __export_fanfare_module_handler_0_1_0_cabi;
                    }
                }
            }
        }
    }

    #[cfg(target_family = "wasm")]
    #[doc(hidden)]
    #[macro_export]
    macro_rules! __export_freeing {
        ($module:ident with_types_in $($path:tt)*) => {
            #[unsafe(export_name = "[async-lift]fanfare:module/handler@0.1.0#handle")]
            unsafe extern "C" fn handle(call: *mut u8) -> i32 {
                unsafe { $crate::wit::handler::start::<$module>(call) }
            }
            #[unsafe(export_name = "[callback][async-lift]fanfare:module/handler@0.1.0#handle")]
            unsafe extern "C" fn resume(event: u32, first: u32, second: u32) -> u32 {
                unsafe { $crate::wit::handler::resume(event, first, second) }
            }
        };
    }

    /// The size of a `call` in memory, as the canonical ABI lays it out.
    #[cfg(target_family = "wasm")]
    const CALL: std::alloc::Layout = match std::alloc::Layout::from_size_align(152, 8) {
        Ok(layout) => layout,
        Err(_) => panic!(),
    };

    /// Starts a call, for the export `handle`.
    ///
    /// # Safety
    /// `call` must be the record that the host has just lowered.
    #[cfg(target_family = "wasm")]
    pub unsafe fn start<G: Guest>(call: *mut u8) -> i32 {
        unsafe {
            let code = exports::fanfare::module::handler::_export_handle_cabi::<G>(call);
            // Nothing reads the record after the first poll, which is over.
            std::alloc::dealloc(call, CALL);
            code
        }
    }

    #[cfg(target_family = "wasm")]
    pub use exports::fanfare::module::handler::__callback_handle as resume;
}

pub mod describe {
    include!("wit/bindings/describe.rs");
    pub use exports::fanfare::module::describe::Guest;
}

pub mod snapshot {
    include!("wit/bindings/snapshot.rs");
    pub use exports::fanfare::module::snapshot::Guest;
}
