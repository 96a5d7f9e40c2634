//! Components that were not written for Fanfare: they answer requests through `wasi:http`.

mod answers;
mod bodies;
mod commands;
mod limits;
mod mount;
pub mod packages;
pub mod swaps;

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::Started;

/// The test guests of both versions.
const BOTH: [&str; 2] = ["http-2", "http-3"];

/// A connection over which a test sends and reads a request in parts.
struct Raw {
    stream: TcpStream,
    /// What has arrived and was not matched yet.
    read: String,
}

impl Raw {
    /// Sends the head of a request, or more of it.
    async fn send(address: SocketAddr, text: &str) -> Raw {
        let mut raw = Raw { stream: TcpStream::connect(address).await.unwrap(), read: String::new() };
        raw.write(text).await;
        raw
    }

    async fn get(address: SocketAddr, path: &str) -> Raw {
        Raw::send(address, &format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await
    }

    async fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads until `end` has arrived, and returns everything up to it.
    async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.read.find(end) {
                let rest = self.read.split_off(at + end.len());
                return std::mem::replace(&mut self.read, rest);
            }
            let more = self.more().await;
            assert!(more > 0, "the connection ended before {end:?}: {:?}", self.read);
        }
    }

    /// Reads until the connection ends.
    async fn rest(mut self) -> String {
        while self.more().await > 0 {}
        self.read
    }

    /// Returns the number of bytes that have arrived, 0 at the end.
    async fn more(&mut self) -> usize {
        let mut bytes = [0; 65_536];
        let count = self.stream.read(&mut bytes).await.unwrap_or(0);
        self.read.push_str(&String::from_utf8_lossy(&bytes[..count]));
        count
    }
}

impl Started {
    /// The number of responses that stream.
    async fn streaming(&self) -> f64 {
        self.metric("fanfare_responses_streaming", &[]).await
    }
}
