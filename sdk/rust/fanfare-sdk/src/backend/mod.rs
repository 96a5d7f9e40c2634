//! Selects what answers the imports: the host around the component, or the in-memory test host. No
//! other file knows the difference.

#[cfg(target_family = "wasm")]
mod component;
#[cfg(target_family = "wasm")]
pub(crate) use component::*;

#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::testing::backend::*;

/// The exports of the component.
#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($module:ident $(, $state:ty)?) => {
        const _: () = {
            impl $crate::wit::handler::Guest for $module {
                async fn handle(
                    call: $crate::types::Call,
                ) -> ::core::result::Result<$crate::Outcome, $crate::wit::types::Failure> {
                    $crate::private::run::<$module>(call).await
                }
            }
            impl $crate::wit::describe::Guest for $module {
                fn handlers() -> ::std::vec::Vec<::std::string::String> {
                    <$module as $crate::Module>::HANDLERS.iter().map(|name| (*name).into()).collect()
                }
            }
            $crate::wit::handler::__export_handler!($module with_types_in $crate::wit::handler::freeing);
            $crate::wit::describe::__export_describe!($module with_types_in $crate::wit::describe);
            $(
                impl $crate::wit::snapshot::Guest for $module {
                    async fn save() -> ::core::result::Result<$crate::Payload, ::std::string::String> {
                        $crate::private::save::<$state>().await
                    }
                    async fn load(
                        from: ::std::string::String,
                        state: $crate::Payload,
                    ) -> ::core::result::Result<(), ::std::string::String> {
                        $crate::private::load::<$state>(from, state).await
                    }
                }
                $crate::wit::snapshot::__export_snapshot!($module with_types_in $crate::wit::snapshot);
            )?
        };
    };
}

/// No exports: tests call the type `Module` directly.
#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($($any:tt)*) => {};
}
