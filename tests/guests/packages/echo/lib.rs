//! Streams the body of the request back, with its trailers. `/spin` never returns, and `/trap`
//! traps.

use std::hint::black_box;

use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::wit_future;

wasip3::http::service::export!(Echo);

struct Echo;

impl wasip3::exports::http::handler::Guest for Echo {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        match request.get_path_with_query().as_deref() {
            Some("/spin") => loop {
                black_box(());
            },
            Some("/trap") => panic!("this path traps"),
            _ => {}
        }
        let (_received, result) = wit_future::new(|| Ok(()));
        let (body, trailers) = Request::consume_body(request, result);
        let (response, _sent) = Response::new(Fields::new(), Some(body), trailers);
        Ok(response)
    }
}
