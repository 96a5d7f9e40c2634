//! `bench-proxy <component> <address> [reuse [concurrent]]` serves a `wasi:http` component on one
//! thread.
//!
//! The defaults are those of `wasmtime serve`: the pooling allocator, no epochs; for
//! `wasi:http@0.2` an instance for each request, for 0.3 an instance for 128 requests, 16 of them
//! at a time.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use wasmtime::component::{Component, GuestTaskId, Linker, ResourceTable};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store, StoreContextMut};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::handler::{
    HandlerState, Instance, ProxyHandler, ProxyPre, ShouldAccept, WorkerExpiration, WorkerState, WorkerStatus,
};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

/// The data of a store.
struct Data {
    wasi: WasiCtx,
    table: ResourceTable,
    http: WasiHttpCtx,
    hooks: NoRequests,
}

impl WasiView for Data {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Data {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// Denies every request of the guest.
struct NoRequests;

impl WasiHttpHooks for NoRequests {
    fn send_request(
        &mut self,
        _: hyper::Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Io,
    ) -> Box<dyn Future<Output = Result<(hyper::Response<WasiBody>, Io), Error>> + Send> {
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}

struct Server {
    engine: Engine,
    pre: ProxyPre<Data>,
    reuse: Reuse,
}

#[derive(Clone, Copy)]
struct Reuse {
    total: usize,
    concurrent: usize,
}

impl HandlerState for Server {
    type StoreData = Data;
    type WorkerExpiration = Never;
    type WorkerState = Reuse;

    async fn instantiate(&self) -> wasmtime::Result<Instance<Data, Never, Reuse>> {
        let data = Data {
            wasi: WasiCtx::builder().build(),
            table: ResourceTable::new(),
            http: WasiHttpCtx::new(),
            hooks: NoRequests,
        };
        let mut store = Store::new(&self.engine, data);
        let proxy = self.pre.instantiate_async(&mut store).await?;
        Ok(Instance { store, proxy, view: Data::http, expiration: Never, state: self.reuse })
    }
}

/// An instance never expires by time, only by its number of requests.
struct Never;

impl WorkerExpiration for Never {
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>, _: WorkerStatus, _: Instant) -> Poll<()> {
        Poll::Pending
    }
}

impl WorkerState for Reuse {
    type StoreData = Data;
    type RequestData = ();

    fn should_accept_request(&self, concurrent: usize, total: usize) -> ShouldAccept {
        match (total < self.total, concurrent < self.concurrent) {
            (false, _) => ShouldAccept::Never,
            (true, false) => ShouldAccept::No,
            (true, true) => ShouldAccept::Yes,
        }
    }

    fn on_request_start(
        &self,
        _: StoreContextMut<'_, Data>,
        (): (),
        _: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + 'static + Send + Sync>> {
        Box::pin(std::future::pending())
    }

    fn drop(&self, _: Store<Data>, result: wasmtime::Result<()>) {
        if let Err(error) = result {
            eprintln!("bench-proxy: {error:#}");
        }
    }
}

fn main() -> wasmtime::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [component, address, rest @ ..] = &arguments[..] else {
        wasmtime::bail!("usage: bench-proxy <component> <address> [reuse [concurrent]]");
    };
    let number = |place: usize, default: usize| rest.get(place).map_or(Ok(default), |text| text.parse());
    let address: SocketAddr = address.parse()?;

    let mut config = Config::new();
    config.wasm_component_model_async(true);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(PoolingAllocationConfig::default()));
    let engine = Engine::new(&config)?;
    let mut linker = Linker::<Data>::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    let instance = linker.instantiate_pre(&Component::from_file(&engine, component)?)?;
    let (pre, total, concurrent) = match wasmtime_wasi_http::p2::bindings::ProxyPre::new(instance.clone()) {
        Ok(pre) => (ProxyPre::P2(pre), 1, 1),
        Err(_) => (ProxyPre::P3(wasmtime_wasi_http::p3::bindings::ServicePre::new(instance)?), 128, 16),
    };
    let reuse = Reuse { total: number(0, total)?, concurrent: number(1, concurrent)? };
    let handler = ProxyHandler::new(Server { engine, pre, reuse });

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await?;
        println!("ready {}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let handler = handler.clone();
            tokio::spawn(async move {
                let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
                    let handler = handler.clone();
                    async move {
                        let request = request.map(|body| body.map_err(Error::Hyper).boxed_unsync());
                        Ok::<_, Infallible>(handler.handle((), request).await.unwrap_or_else(failed))
                    }
                });
                // A client that disconnects is not an error.
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })
}

fn failed(error: wasmtime::Error) -> hyper::Response<WasiBody> {
    let text = Full::new(Bytes::from(format!("{error:#}\n")));
    let mut response = hyper::Response::new(text.map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
    response
}
