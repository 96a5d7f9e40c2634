//! Calls the `wasi:http` export of a guest, in either version.

use std::sync::Arc;

use parking_lot::Mutex;
use wasmtime::component::{
    Access, Accessor, ComponentExportIndex, GuestTaskId, HasSelf, Instance, Resource, TypedFunc,
    TypedFuncCallConcurrent,
};
use wasmtime_wasi_http::p2::bindings::http::types as p2;
use wasmtime_wasi_http::p3::bindings::http::types as p3;
use wasmtime_wasi_http::{Error, WasiBody, WasiHttpView};

use super::state::State;
use crate::call::{BodyError, StreamedBody};
use crate::registry::HttpVersion;

type ParamsV2 = (Resource<p2::IncomingRequest>, Resource<p2::ResponseOutparam>);
type ParamsV3 = (Resource<p3::Request>,);
type ResultsV3 = (Result<Resource<p3::Response>, p3::ErrorCode>,);

/// The function `handle` of a guest.
pub enum GuestHttp {
    V2(TypedFunc<ParamsV2, ()>),
    V3(TypedFunc<ParamsV3, ResultsV3>),
}

/// Receives the head of a response as soon as the guest has sent it, or the error of a guest that
/// sends none.
pub type Respond = Box<dyn FnOnce(Result<http::Response<WasiBody>, Error>) + Send + Sync>;

/// A request that the guest has started to handle.
pub struct HttpCall {
    call: Started,
    respond: Arc<Mutex<Option<Respond>>>,
}

enum Started {
    V2(TypedFuncCallConcurrent<State, ParamsV2, ()>),
    V3(TypedFuncCallConcurrent<State, ParamsV3, ResultsV3>),
}

impl HttpCall {
    pub fn task(&self) -> GuestTaskId {
        match &self.call {
            Started::V2(call) => call.task(),
            Started::V3(call) => call.task(),
        }
    }
}

impl GuestHttp {
    /// Fails when the function does not have the type of `wasi:http`.
    pub fn new(
        store: &mut wasmtime::Store<State>,
        instance: &Instance,
        (version, handle): (HttpVersion, ComponentExportIndex),
    ) -> wasmtime::Result<GuestHttp> {
        Ok(match version {
            HttpVersion::V2 => GuestHttp::V2(instance.get_typed_func(&mut *store, handle)?),
            HttpVersion::V3 => GuestHttp::V3(instance.get_typed_func(&mut *store, handle)?),
        })
    }

    pub fn start(
        &self,
        mut access: Access<'_, State, HasSelf<State>>,
        request: http::Request<StreamedBody>,
        respond: Respond,
    ) -> wasmtime::Result<HttpCall> {
        let respond = Arc::new(Mutex::new(Some(respond)));
        let call = match self {
            GuestHttp::V2(handle) => {
                let mut http = access.get().http();
                let request = http.new_incoming_request(p2::Scheme::Http, request)?;
                let first = respond.clone();
                let out = http.new_response_outparam_from_callback(move |response| {
                    if let Some(respond) = first.lock().take() {
                        respond(response.map_err(Into::into));
                    }
                })?;
                Started::V2(handle.start_call_concurrent(&mut access, (request, out))?)
            }
            GuestHttp::V3(handle) => {
                let http = access.get().http();
                // The future reports an error of the guest while it reads the body, which is the
                // guest's own affair.
                let (request, _) = p3::Request::from_http(http.hooks, request);
                let request = http.table.push(request)?;
                Started::V3(handle.start_call_concurrent(&mut access, (request,))?)
            }
        };
        Ok(HttpCall { call, respond })
    }

    /// Resolves when the guest has returned. The body of the response may still stream.
    pub async fn finish(&self, accessor: &Accessor<State>, call: HttpCall) -> wasmtime::Result<()> {
        let HttpCall { call, respond } = call;
        let response = match (self, call) {
            (GuestHttp::V2(handle), Started::V2(call)) => {
                handle.finish_call_concurrent(accessor, call).await?;
                Err(Error::InternalError(Some("the guest returned without a response".to_owned())))
            }
            (GuestHttp::V3(handle), Started::V3(call)) => {
                match handle.finish_call_concurrent(accessor, call).await?.0 {
                    Ok(response) => Ok(accessor.with(|mut access| {
                        let response = access.get().http().table.delete(response)?;
                        response.into_http(&mut access, async { Ok(()) })
                    })?),
                    Err(error) => Err(error.into()),
                }
            }
            _ => return Err(wasmtime::Error::msg("a request belongs to another instance")),
        };
        if let Some(respond) = respond.lock().take() {
            respond(response);
        }
        Ok(())
    }
}

impl From<BodyError> for Error {
    fn from(error: BodyError) -> Error {
        match error {
            BodyError::TooLarge(most) => Error::HttpRequestBodySize(Some(most)),
            BodyError::Slow(_) => Error::ConnectionReadTimeout,
            BodyError::Incomplete(_) | BodyError::InstanceEnded => Error::ConnectionTerminated,
        }
    }
}
