use std::future::Future;
use std::pin::Pin;

use crate::current::carry_as;
use crate::extract::Incoming;
use crate::failure::{Failure, Result};
use crate::snapshot::Snapshot;
use crate::types::{Call, Outcome, Payload};
use crate::wit;

/// One handler; written by [`#[handler]`](crate::handler).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    note = "write `#[handler]` above the function `{Self}`"
)]
pub trait Handler {
    /// Its name in the manifest.
    const NAME: &'static str;

    /// Takes its arguments from the call, runs, and turns its result into an outcome.
    fn call(incoming: Incoming) -> impl Future<Output = Result<Outcome>>;
}

/// All handlers of a component; written by [`module!`](crate::module!).
pub trait Module {
    /// The names for `describe`.
    const HANDLERS: &'static [&'static str];

    /// Runs the handler that the call names.
    fn handle(incoming: Incoming) -> impl Future<Output = Result<Outcome>>;

    /// How its state is saved and loaded, when it has a snapshot.
    #[doc(hidden)]
    fn snapshot() -> Option<SnapshotFns> {
        None
    }
}

/// Declares the component: which handlers it has, and the state that outlives a swap.
///
/// ```
/// use fanfare_sdk::prelude::*;
/// use std::cell::Cell;
///
/// thread_local! { static COUNT: Cell<u64> = const { Cell::new(0) } }
///
/// #[handler]
/// fn count() -> Json<u64> {
///     COUNT.set(COUNT.get() + 1);
///     Json(COUNT.get())
/// }
///
/// #[derive(Serialize, Deserialize)]
/// struct Saved { count: u64 }
///
/// impl State for Saved {
///     async fn save() -> Self { Saved { count: COUNT.get() } }
///     async fn load(self, _from: &str) -> Result<()> { Ok(COUNT.set(self.count)) }
/// }
///
/// fanfare_sdk::module! {
///     handlers: [count],
///     snapshot: Saved,
/// }
/// # fn main() {
/// let host = TestHost::new(Module);
/// host.call("count", ()).unwrap();
/// host.swap();
/// assert_eq!(host.call("count", ()).unwrap().text(), "2");
/// # }
/// ```
///
/// Without a snapshot, `module!(greet, count)` does. It makes a type named `Module` for tests, and the
/// component's exports. The names are those of functions with [`#[handler]`](crate::handler), also by path: `shop::buy`.
#[macro_export]
macro_rules! module {
    (handlers: [$($handler:ty),* $(,)?] $(, snapshot: $state:ty)? $(,)?) => {
        /// The handlers of this component.
        #[derive(Clone, Copy, Debug)]
        pub struct Module;

        impl $crate::Module for Module {
            const HANDLERS: &'static [&'static str] = &[$(<$handler as $crate::Handler>::NAME),*];

            async fn handle(incoming: $crate::Incoming) -> $crate::Result<$crate::Outcome> {
                match incoming.call().handler.as_str() {
                    $(<$handler as $crate::Handler>::NAME => <$handler as $crate::Handler>::call(incoming).await,)*
                    _ => $crate::private::unknown_handler(&incoming),
                }
            }

            $(fn snapshot() -> ::core::option::Option<$crate::private::SnapshotFns> {
                ::core::option::Option::Some($crate::private::SnapshotFns::of::<$state>())
            })?
        }

        $crate::__export!(Module $(, $state)?);
    };
    ($($handler:ty),* $(,)?) => { $crate::module! { handlers: [$($handler),*] } };
}

/// Runs one call of a module; what the export `handle` does.
pub async fn run<M: Module>(call: Call) -> Result<Outcome, wit::types::Failure> {
    let id = call.id;
    carry_as(Some(id), M::handle(Incoming::new(call))).await.map_err(Failure::into_wit)
}

/// What the export `save` does.
pub async fn save<S: Snapshot>() -> Result<Payload, String> {
    S::save().await.map_err(|failure| failure.to_string())
}

/// What the export `load` does.
pub async fn load<S: Snapshot>(from: String, state: Payload) -> Result<(), String> {
    S::load(&from, state).await.map_err(|failure| failure.to_string())
}

/// What an unknown name gets. The manifest's names are checked at load, so it is rare.
#[cold]
pub fn unknown_handler(incoming: &Incoming) -> Result<Outcome> {
    let message = format!("this component has no handler `{}`", incoming.call().handler);
    Err(Failure::new("no-such-handler", message))
}

/// A future that stays on its thread.
pub type LocalFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// [`Snapshot`] without its type.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotFns {
    /// [`Snapshot::save`]
    pub save: fn() -> LocalFuture<Result<Payload, String>>,
    /// [`Snapshot::load`]
    pub load: fn(String, Payload) -> LocalFuture<Result<(), String>>,
}

impl SnapshotFns {
    /// That of a type.
    pub fn of<S: Snapshot + 'static>() -> Self {
        SnapshotFns { save: || Box::pin(save::<S>()), load: |from, state| Box::pin(load::<S>(from, state)) }
    }
}
