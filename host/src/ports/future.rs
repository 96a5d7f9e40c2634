use std::future::Future;
use std::pin::Pin;

/// What a port returns when the caller waits.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
