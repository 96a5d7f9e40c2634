//! Notices that the process that started this one has ended.

use std::io::{self, stdin};
use std::os::fd::AsFd;

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;

/// The process that has started this one. It holds the other end of standard input, which the
/// system closes when it ends, also when it is killed.
pub struct Parent(Option<Receiver>);

impl Parent {
    /// Watches only if `watched` is true. Fails if standard input is no pipe.
    pub fn new(watched: bool) -> io::Result<Parent> {
        let pipe = || Receiver::from_owned_fd(stdin().as_fd().try_clone_to_owned()?);
        Ok(Parent(watched.then(pipe).transpose()?))
    }

    /// Resolves when the process has ended.
    pub async fn ended(&mut self) {
        let Some(pipe) = &mut self.0 else { return std::future::pending().await };
        let mut ignored = [0; 64];
        // An error means that nothing can be read any more.
        while pipe.read(&mut ignored).await.is_ok_and(|size| size > 0) {}
    }
}
