//! `wasi:http`: sends the requests that were granted, and denies every other one.
//!
//! All toolchains link `wasi:http`, so its resources must exist. The resources that a guest creates
//! live in the host's memory, so each has a largest size, and an instance may own only as many as
//! fit into its `limits.memory`.

use std::future::{Future, ready};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceTable};
use wasmtime_wasi_http::p2::bindings::http::types as p2;
use wasmtime_wasi_http::p3::bindings::http::types as p3;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

use crate::config::Limits;
use crate::config::origin::Origin;
use crate::outgoing::{RequestError, ResponseBody, Timeouts};
use crate::registry::Generation;

/// The most bytes of one WASI resource: [`FIELDS`], four [`TEXT`]s, and the [`CHUNK`]s of a body.
const RESOURCE: u64 = 16 << 10;

/// The number of WASI resources that every instance may own, whatever its limits. Its standard
/// streams, clocks and bodies count among them.
const LEAST: u64 = 64;

/// The most bytes of the header fields of one resource.
const FIELDS: usize = 8 << 10;

/// The most bytes of a path, an authority, a scheme or a method.
const TEXT: usize = 1 << 10;

/// The most bytes of one write to a body. The host buffers one further write of this size.
const CHUNK: usize = 1 << 10;

/// The same for bodies that stream to a client or a server, whose number the limits of calls and
/// requests bound, and for the first [`EARLY`] bodies of version 0.2 in an instance. An instance of
/// a component of version 0.2 usually lives for one request.
const LARGE_CHUNK: usize = 64 << 10;

/// In version 0.2 a guest may also fill bodies that it never sends.
const EARLY: u8 = 4;

/// The bytes of a file that a stream of WASI 0.2 holds.
const PIECE: u64 = 64 << 10;

/// The number of WASI resources that an instance may own: at most `limits.handles`, and no more
/// than fit into `limits.memory`. With folders, each may be a stream to a file.
pub fn most_resources(limits: &Limits, folders: bool) -> usize {
    let size = if folders { RESOURCE + PIECE } else { RESOURCE };
    let fit = (limits.memory / size).max(LEAST);
    usize::try_from(fit.min(limits.handles.into())).unwrap_or(usize::MAX)
}

/// The host's side of `wasi:http` in one store.
pub struct WasiHttp {
    ctx: WasiHttpCtx,
    hooks: Requests,
}

impl WasiHttp {
    /// For a generation, or without access to any server.
    pub fn new(generation: Option<Arc<Generation>>) -> WasiHttp {
        let mut ctx = WasiHttpCtx::new();
        ctx.set_field_size_limit(FIELDS);
        WasiHttp { ctx, hooks: Requests { generation, early: EARLY } }
    }

    pub fn view<'a>(&'a mut self, table: &'a mut ResourceTable) -> WasiHttpCtxView<'a> {
        WasiHttpCtxView { ctx: &mut self.ctx, table, hooks: &mut self.hooks }
    }
}

/// Sends the requests that the generation may send.
struct Requests {
    generation: Option<Arc<Generation>>,
    /// How many bodies of version 0.2 may still have large chunks.
    early: u8,
}

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Result<(http::Response<WasiBody>, Io), Error>;

impl WasiHttpHooks for Requests {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Io,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let generation = self.generation.clone();
        Box::new(async move {
            let request = request.map(|body| body.map_err(|_| RequestError::Body).boxed_unsync());
            let sent = send(generation.as_deref(), request, timeouts(options)).await.map_err(wasi_error)?;
            // The client's own tasks drive its connections.
            Ok((sent.map(|body| body.map_err(wasi_error).boxed_unsync()), Box::new(ready(Ok(()))) as Io))
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        match self.early.checked_sub(1) {
            Some(left) => {
                self.early = left;
                LARGE_CHUNK
            }
            None => CHUNK,
        }
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        LARGE_CHUNK
    }
}

/// Sends a request if the generation may send it. Logs what the operator can change.
pub async fn send(
    generation: Option<&Generation>,
    request: http::Request<UnsyncBoxBody<Bytes, RequestError>>,
    timeouts: Timeouts,
) -> Result<http::Response<ResponseBody>, RequestError> {
    let client = generation.and_then(|generation| generation.client.clone());
    let sent = match client {
        Some(client) => client.send(request, timeouts).await,
        None => Err(Origin::of(request.uri()).map_or(RequestError::Uri, RequestError::Denied)),
    };
    if let (Some(generation), Err(error)) = (generation, &sent) {
        report(generation, error);
    }
    sent
}

/// Whether the host may store this text of a guest.
fn fits(text: Option<&String>) -> bool {
    text.is_none_or(|text| text.len() <= TEXT)
}

fn timeouts(options: Option<RequestOptions>) -> Timeouts {
    let options = options.unwrap_or_default();
    Timeouts {
        connect: options.connect_timeout,
        first_byte: options.first_byte_timeout,
        between_bytes: options.between_bytes_timeout,
        deadline: None,
    }
}

/// Logs what the operator can change, once for each server.
fn report(generation: &Generation, error: &RequestError) {
    match error {
        RequestError::Denied(origin) => generation.deny("http", &origin.to_string()),
        RequestError::Private { host, .. } => generation.warn_once("private", host, || {
            let module = &generation.module;
            format!("{module} may not reach {error}: add \"{host}\" to outgoing.private in fanfare.json to allow it")
        }),
        _ => {}
    }
}

fn wasi_error(error: RequestError) -> Error {
    match error {
        RequestError::Denied(_) => Error::HttpRequestDenied,
        RequestError::Uri => Error::HttpRequestUriInvalid,
        RequestError::Private { .. } => Error::DestinationIpProhibited,
        RequestError::Unresolved => Error::DnsError { rcode: None, info_code: None },
        RequestError::TooManyRequests | RequestError::TooManyConnections => Error::ConnectionLimitReached,
        RequestError::Refused => Error::ConnectionRefused,
        RequestError::Unreachable => Error::DestinationUnavailable,
        RequestError::ConnectTimeout => Error::ConnectionTimeout,
        RequestError::Certificate => Error::TlsCertificateError,
        RequestError::Tls => Error::TlsProtocolError,
        RequestError::HeadTimeout => Error::HttpResponseTimeout,
        RequestError::BodyTimeout => Error::ConnectionReadTimeout,
        RequestError::RequestTooLarge(most) => Error::HttpRequestBodySize(Some(most)),
        RequestError::ResponseTooLarge(most) => Error::HttpResponseBodySize(Some(most)),
        RequestError::Ended => Error::ConnectionTerminated,
        RequestError::Body | RequestError::Protocol(_) => Error::HttpProtocolError,
    }
}

type Set = wasmtime::Result<(Result<(), ()>,)>;

/// Links both versions of `wasi:http`, with bounds on the texts that the host stores.
pub fn add_to_linker<T: WasiHttpView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    wasmtime_wasi_http::p3::add_to_linker(linker)?;
    // wasmtime's own setters accept texts of any length. In the contract of `wasi:http` each setter
    // may return `err`, so guests expect it.
    linker.allow_shadowing(true);
    macro_rules! bounded {
        ($version:literal, $module:ident, $resource:literal, $request:ty, $setters:ident: $($name:literal => $set:ident($type:ty), $text:expr;)*) => {{
            let mut types = linker.instance(concat!("wasi:http/types@", $version))?;
            $(types.func_wrap(
                concat!("[method]", $resource, ".", $name),
                |mut cx: StoreContextMut<'_, T>, (request, value): (Resource<$request>, $type)| -> Set {
                    let text: fn(&$type) -> Option<&String> = $text;
                    if !fits(text(&value)) {
                        return Ok((Err(()),));
                    }
                    Ok(($module::$setters::$set(&mut cx.data_mut().http(), request, value)?,))
                },
            )?;)*
        }};
    }
    macro_rules! of_version {
        ($version:literal, $module:ident, $resource:literal, $request:ty, $setters:ident) => {
            bounded!($version, $module, $resource, $request, $setters:
                "set-path-with-query" => set_path_with_query(Option<String>), Option::as_ref;
                "set-authority" => set_authority(Option<String>), Option::as_ref;
                "set-scheme" => set_scheme(Option<$module::Scheme>), |scheme| match scheme {
                    Some($module::Scheme::Other(text)) => Some(text),
                    _ => None,
                };
                "set-method" => set_method($module::Method), |method| match method {
                    $module::Method::Other(text) => Some(text),
                    _ => None,
                };)
        };
    }
    of_version!("0.2.12", p2, "outgoing-request", p2::OutgoingRequest, HostOutgoingRequest);
    of_version!("0.3.0", p3, "request", p3::Request, HostRequest);
    linker.allow_shadowing(false);
    Ok(())
}

#[cfg(test)]
mod tests {
    use wasmtime::component::{Component, Instance};
    use wasmtime::{Engine, Store};

    use super::*;

    struct Holder {
        http: WasiHttp,
        table: ResourceTable,
    }

    impl WasiHttpView for Holder {
        fn http(&mut self) -> WasiHttpCtxView<'_> {
            self.http.view(&mut self.table)
        }
    }

    /// A component that creates resources and never drops them. `path` and `authority` also set a
    /// text of the given length on one.
    const HOARDS: &str = r#"(component
      (import "wasi:io/error@0.2.12" (instance $error (export "error" (type (sub resource)))))
      (import "wasi:http/types@0.2.12" (instance $http
        (export "fields" (type $fields (sub resource)))
        (export "outgoing-request" (type $request (sub resource)))
        (export "[constructor]fields" (func (result (own $fields))))
        (export "[constructor]outgoing-request" (func (param "headers" (own $fields)) (result (own $request))))
        (export "[method]outgoing-request.set-path-with-query"
          (func (param "self" (borrow $request)) (param "path-with-query" (option string)) (result (result))))
        (export "[method]outgoing-request.set-authority"
          (func (param "self" (borrow $request)) (param "authority" (option string)) (result (result))))))
      (core module $memory (memory (export "memory") 4)
        (func (export "fill") (memory.fill (i32.const 0) (i32.const 97) (i32.const 262144)) (i32.store8 (i32.const 0) (i32.const 47))))
      (core instance $m (instantiate $memory))
      (core func $fields (canon lower (func $http "[constructor]fields")))
      (core func $request (canon lower (func $http "[constructor]outgoing-request")))
      (core func $path (canon lower (func $http "[method]outgoing-request.set-path-with-query") (memory $m "memory")))
      (core func $authority (canon lower (func $http "[method]outgoing-request.set-authority") (memory $m "memory")))
      (core module $code
        (import "" "memory" (memory 4))
        (import "" "fill" (func $fill))
        (import "" "fields" (func $fields (result i32)))
        (import "" "request" (func $request (param i32) (result i32)))
        (import "" "path" (func $path (param i32 i32 i32 i32) (result i32)))
        (import "" "authority" (func $authority (param i32 i32 i32 i32) (result i32)))
        (global $made (mut i32) (i32.const 0))
        (func $make (result i32) (global.set $made (call $request (call $fields))) (global.get $made))
        (func (export "make") (drop (call $make)))
        (func (export "path") (param i32) (result i32)
          (call $fill) (call $path (call $make) (i32.const 1) (i32.const 0) (local.get 0)))
        (func (export "authority") (param i32) (result i32)
          (call $fill) (call $authority (call $make) (i32.const 1) (i32.const 1) (local.get 0))))
      (core instance $c (instantiate $code (with "" (instance
        (export "memory" (memory $m "memory")) (export "fill" (func $m "fill"))
        (export "fields" (func $fields)) (export "request" (func $request))
        (export "path" (func $path)) (export "authority" (func $authority))))))
      (func (export "make") (canon lift (core func $c "make")))
      (func (export "path") (param "length" u32) (result u32) (canon lift (core func $c "path")))
      (func (export "authority") (param "length" u32) (result u32) (canon lift (core func $c "authority"))))"#;

    async fn holder(limits: &Limits) -> (Store<Holder>, Instance) {
        let engine = Engine::default();
        let mut linker = Linker::new(&engine);
        wasmtime_wasi_io_error(&mut linker);
        add_to_linker(&mut linker).unwrap();
        let mut table = ResourceTable::new();
        table.set_max_capacity(most_resources(limits, false));
        let mut store = Store::new(&engine, Holder { http: WasiHttp::new(None), table });
        let component = Component::new(&engine, wat::parse_str(HOARDS).unwrap()).unwrap();
        let instance = linker.instantiate_async(&mut store, &component).await.unwrap();
        (store, instance)
    }

    fn wasmtime_wasi_io_error(linker: &mut Linker<Holder>) {
        let error = wasmtime::component::ResourceType::host::<u8>();
        linker.instance("wasi:io/error@0.2.12").unwrap().resource("error", error, |_, _| Ok(())).unwrap();
    }

    #[tokio::test]
    async fn an_instance_owns_no_more_resources_than_fit_into_its_memory() {
        for (memory, handles, most) in [(4 << 20, 10_000, 256), (64 << 20, 100, 100), (65_536, 10_000, 64)] {
            let limits = Limits { memory, handles, ..Limits::default() };
            let (mut store, instance) = holder(&limits).await;
            let make = instance.get_typed_func::<(), ()>(&mut store, "make").unwrap();
            let mut made = 0;
            while make.call_async(&mut store, ()).await.is_ok() {
                made += 1;
                assert!(made <= most, "{memory}");
            }
            // The fields move into the request, so both exist for a moment.
            assert!(made >= most - 1, "{memory}: {made}");
            assert!(made * RESOURCE <= memory.max(LEAST * RESOURCE));
        }
    }

    #[test]
    fn an_instance_with_folders_owns_fewer_resources() {
        let limits = Limits { memory: 64 << 20, handles: 10_000, ..Limits::default() };
        assert_eq!((most_resources(&limits, false), most_resources(&limits, true)), (4_096, 819));
    }

    #[tokio::test]
    async fn no_resource_stores_a_long_text() {
        let (mut store, instance) = holder(&Limits::default()).await;
        for name in ["path", "authority"] {
            let set = instance.get_typed_func::<(u32,), (u32,)>(&mut store, name).unwrap();
            for (length, refused) in [(TEXT as u32, 0), (TEXT as u32 + 1, 1), (60_000, 1), (262_000, 1)] {
                let ended = set.call_async(&mut store, (length,)).await.unwrap();
                assert_eq!(ended, (refused,), "{name} of {length}");
            }
        }
    }

    #[test]
    fn the_size_of_a_resource_covers_all_its_parts() {
        assert!((FIELDS + 4 * TEXT + 2 * CHUNK) as u64 <= RESOURCE);
        let mut hooks = Requests { generation: None, early: 1 };
        assert_eq!(hooks.p2_outgoing_body_chunk_size(), LARGE_CHUNK);
        assert_eq!((hooks.p2_outgoing_body_chunk_size(), hooks.p3_outgoing_body_chunk_size()), (CHUNK, LARGE_CHUNK));
        assert_eq!(hooks.p2_outgoing_body_buffer_chunks(), 1);
    }
}
