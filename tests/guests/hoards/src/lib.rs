//! Takes what there is of handles.

use std::future::{Future, poll_fn};
use std::task::Poll;

use common::ok;
use fanfare_sdk::prelude::*;

/// So many handles at once, each of a call that it does not wait for: answers how many those are.
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
