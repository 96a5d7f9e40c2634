use std::future::Future;
use std::pin::Pin;

/// The future that a port returns.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
