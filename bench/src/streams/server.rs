//! A server of streams as a process of its own, which publishes on command.
//!
//! It prints `serves <address>`, then reads commands from standard input:
//!
//! - `publish <n>`: publishes `n` events to all streams of one key
//! - `each <n>`: publishes one event to each of `n` keys
//!
//! It answers each with the time when it began, in nanoseconds of the wall clock, and the time when
//! the last publish had returned.

use std::io::BufRead;

use super::child::{Child, now};
use super::{bare, embedded};

/// The key of the streams that share one; with a number appended, keys of their own. The test guest
/// owns it.
pub const KEY: &str = "streams/bench";

/// The data of each event: thirty bytes, with the marks that the reader counts.
pub const DATA: &str = "event xxxxxxxxxxxxxxxxxxxxxxxx";

/// What a server does on command.
pub trait Publish {
    /// Sends an event to all streams of a key.
    fn publish(&self, key: &str);
}

/// `stream-server <kind> <threads>`.
pub fn main(arguments: &[String]) {
    let [kind, threads] = arguments else { panic!("stream-server <kind> <threads>") };
    fanfare::raise_descriptor_limit();
    let threads: usize = threads.parse().unwrap();
    match kind.as_str() {
        "loop" => serve(&bare::Loop::start(threads)),
        "hyper" => serve(&bare::Hyper::start(threads)),
        "fanfare" => serve(&embedded::Embedded::start(threads)),
        _ => panic!("no server {kind}"),
    }
}

fn serve(server: &(impl Publish + Address)) {
    println!("serves {}", server.address());
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let (command, count) = line.split_once(' ').expect("publish <n>");
        let count: usize = count.parse().unwrap();
        let keys: Vec<String> = match command {
            "each" => (0..count).map(|number| format!("{KEY}-{number}")).collect(),
            _ => Vec::new(),
        };
        let begun = now();
        match command {
            "each" => keys.iter().for_each(|key| server.publish(key)),
            _ => (0..count).for_each(|_| server.publish(KEY)),
        }
        println!("published {begun} {}", now());
    }
}

pub trait Address {
    fn address(&self) -> std::net::SocketAddr;
}

/// A server as a child process.
pub struct Server {
    pub child: Child,
    pub address: String,
}

impl Server {
    pub fn start(kind: &str, threads: usize) -> Server {
        let mut child = Child::start(&["stream-server", kind, &threads.to_string()]);
        let line = child.line();
        let address = line.strip_prefix("serves ").unwrap_or_else(|| panic!("{line}")).to_owned();
        Server { child, address }
    }

    /// Runs a command, and returns when it began and when it had ended.
    pub fn command(&mut self, command: &str) -> (u64, u64) {
        self.child.send(command);
        let line = self.child.line();
        let numbers: Vec<u64> = line.split(' ').skip(1).map(|number| number.parse().unwrap()).collect();
        let [begun, ended] = numbers[..] else { panic!("{line}") };
        (begun, ended)
    }
}
