//! The baseline for the host: a guest on wasmtime and nothing else.

use std::path::Path;
use std::thread;

use fanfare::tooling::wit;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{mpsc, oneshot};
use wasmtime::Store;
use wasmtime::component::{
    Accessor, Component, ComponentExportIndex, HasSelf, InstancePre, Linker, ResourceTable, TypedFunc,
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// The default of `limits.concurrency`.
pub const IN_FLIGHT: usize = 64;

pub struct State {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl wit::Host for State {}

type Handle = TypedFunc<(wit::Call,), (Result<wit::Outcome, wit::Failure>,)>;

/// A component that is ready to be instantiated.
#[derive(Clone)]
pub struct Guest {
    engine: fanfare::tooling::Engine,
    pre: InstancePre<State>,
    handle: ComponentExportIndex,
}

/// An instance of a guest.
pub struct Instance {
    pub store: Store<State>,
    pub handle: Handle,
}

impl Guest {
    pub fn load(component: &Path) -> Guest {
        // The engine has the settings of the host.
        let engine = fanfare::tooling::Engine::start(std::time::Duration::from_millis(10), u64::MAX, 0).unwrap();
        let component = Component::from_file(engine.wasmtime(), component).unwrap();
        let mut linker = Linker::<State>::new(engine.wasmtime());
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        wasmtime_wasi::p3::add_to_linker(&mut linker).unwrap();
        wit::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state).unwrap();
        let interface = component.get_export_index(None, "fanfare:module/handler@0.1.0").unwrap();
        let handle = component.get_export_index(Some(&interface), "handle").unwrap();
        Guest { pre: linker.instantiate_pre(&component).unwrap(), engine, handle }
    }

    pub async fn instantiate(&self) -> Instance {
        let state = State { wasi: WasiCtx::builder().build(), table: ResourceTable::new() };
        let mut store = Store::new(self.engine.wasmtime(), state);
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        let instance = self.pre.instantiate_async(&mut store).await.unwrap();
        let handle = instance.get_typed_func(&mut store, self.handle).unwrap();
        Instance { store, handle }
    }

    /// Starts a thread with an instance that runs the calls it receives, many at a time, until the
    /// sender is dropped.
    pub fn thread(&self, room: usize) -> (mpsc::Sender<Message>, thread::JoinHandle<()>) {
        let (send, receive) = mpsc::channel(room);
        let guest = self.clone();
        let thread = thread::spawn(move || runtime().block_on(guest.serve(receive)));
        (send, thread)
    }

    async fn serve(&self, mut receive: mpsc::Receiver<Message>) {
        let Instance { mut store, handle } = self.instantiate().await;
        let handle = &handle;
        store
            .run_concurrent(async move |accessor| {
                let mut calls = FuturesUnordered::new();
                loop {
                    tokio::select! {
                        biased;
                        Some(()) = calls.next() => {}
                        message = receive.recv(), if calls.len() < IN_FLIGHT => match message {
                            Some(message) => calls.push(run(accessor, handle, message)),
                            None => break,
                        },
                    }
                }
                while calls.next().await.is_some() {}
            })
            .await
            .unwrap();
    }
}

/// A call for a thread.
pub struct Message {
    pub call: wit::Call,
    pub reply: Option<oneshot::Sender<wit::Outcome>>,
}

async fn run(accessor: &Accessor<State>, handle: &Handle, message: Message) {
    let (outcome,) = handle.call_concurrent(accessor, (message.call,)).await.unwrap();
    let outcome = outcome.unwrap();
    if let Some(reply) = message.reply {
        let _ = reply.send(outcome);
    }
}

/// Builds a call record with as many fields as the host sets.
pub fn call(handler: &str, trigger: wit::Trigger, payload: String) -> wit::Call {
    wit::Call {
        id: 1,
        handler: handler.to_owned(),
        origin: wit::Origin::Operator,
        subdomain: None,
        deadline_ms: 5_000,
        trigger,
        params: Vec::new(),
        query: String::new(),
        payload: wit::Payload::Text(payload),
        extra: Vec::new(),
    }
}

/// Builds a runtime like that of a worker.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
