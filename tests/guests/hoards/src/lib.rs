//! Holds many handles to host resources.

use std::future::{Future, poll_fn};
use std::task::Poll;

use common::ok;
use fanfare_sdk::prelude::*;

/// Starts `count` calls and holds a handle to each without waiting. Returns the number that are
/// pending.
#[handler]
async fn handles(count: Json<usize>) -> Json<usize> {
    let mut calls: Vec<_> = (0..*count).map(|_| Box::pin(rpc::call("/ok", ()))).collect();
    poll_fn(|context| {
        let mut waiting = 0;
        for call in &mut calls {
            waiting += usize::from(call.as_mut().poll(context).is_pending());
        }
        Poll::Ready(Json(waiting))
    })
    .await
}

fanfare_sdk::module!(handles, ok);
