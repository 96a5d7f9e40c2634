use std::future::Future;
use std::pin::Pin;

use crate::context::Context;
use crate::current::carry_as;
use crate::extract::Incoming;
use crate::failure::{Failure, Result};
use crate::snapshot::Snapshot;
use crate::types::{Call, Outcome, Payload};
use crate::wit;

/// One handler. The attribute [`#[handler]`](crate::handler) implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    note = "write `#[handler]` above the function `{Self}`"
)]
pub trait Handler {
    /// The name of the handler in the manifest.
    const NAME: &'static str;

    /// Reads the arguments from the call, runs the function, and converts its result to an outcome.
    fn call(incoming: Incoming) -> impl Future<Output = Result<Outcome>>;
}

/// All handlers of a component. The macro [`module!`](crate::module!) implements it.
pub trait Module {
    /// The names of the handlers, which the export `describe` returns.
    const HANDLERS: &'static [&'static str];

    /// Runs the handler that the call names.
    fn handle(incoming: Incoming) -> impl Future<Output = Result<Outcome>>;

    /// Returns how to save and load the state, if the module has a snapshot.
    #[doc(hidden)]
    fn snapshot() -> Option<SnapshotFns> {
        None
    }
}

/// Declares the component: its handlers, and the state that it hands over during a swap.
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
/// Without a snapshot, `module!(greet, count)` is enough. Each name is that of a function with
/// [`#[handler]`](crate::handler) and may be a path, such as `shop::buy`. The macro defines the
/// exports of the component, and a type named `Module` for tests.
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

/// Runs one call of a module, for the export `handle`.
pub async fn run<M: Module>(call: Call) -> Result<Outcome, wit::types::Failure> {
    let id = call.id;
    let incoming = Incoming::new(call);
    let context = incoming.context();
    let ended = carry_as(Some(id), async {
        let ended = M::handle(incoming).await;
        if let Err(failure) = &ended {
            report(failure, &context);
        }
        ended
    });
    ended.await.map_err(Failure::into_wit)
}

/// Logs a failure that is the fault of the module.
#[cold]
fn report(failure: &Failure, context: &Context) {
    if let Some(line) = failure.log_line() {
        let fields = [("handler".to_owned(), context.handler().to_owned())];
        crate::host::log(crate::types::Level::Error, &line, &fields);
    }
}

/// Saves the state, for the export `save`.
pub async fn save<S: Snapshot>() -> Result<Payload, String> {
    S::save().await.map_err(|failure| failure.to_string())
}

/// Loads the state, for the export `load`.
pub async fn load<S: Snapshot>(from: String, state: Payload) -> Result<(), String> {
    S::load(&from, state).await.map_err(|failure| failure.to_string())
}

/// Fails a call whose handler does not exist. Rare, because the host checks the names in the
/// manifest when it loads the module.
#[cold]
pub fn unknown_handler(incoming: &Incoming) -> Result<Outcome> {
    let name = &incoming.call().handler;
    let message = format!("the component has no handler `{name}`: add it to `fanfare_sdk::module!`");
    Err(Failure::new("no-such-handler", message))
}

/// A future that stays on its thread.
pub type LocalFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// The functions of a [`Snapshot`], without its type.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotFns {
    /// [`Snapshot::save`]
    pub save: fn() -> LocalFuture<Result<Payload, String>>,
    /// [`Snapshot::load`]
    pub load: fn(String, Payload) -> LocalFuture<Result<(), String>>,
}

impl SnapshotFns {
    /// Returns the functions of a type.
    pub fn of<S: Snapshot + 'static>() -> Self {
        SnapshotFns { save: || Box::pin(save::<S>()), load: |from, state| Box::pin(load::<S>(from, state)) }
    }
}
