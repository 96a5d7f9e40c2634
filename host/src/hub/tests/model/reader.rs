//! A client that leaves after some messages, and does not always read.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::{Condvar, Mutex};

use super::client::{Client, Gone, Received};
use super::message::{Encoding, Notice};
use super::outbox::Outbox;

/// The last message of a run.
pub const END: &str = "end";

/// What a client has received over all of its connections.
#[derive(Default)]
pub struct Log {
    /// Each message with its number.
    pub messages: Vec<(String, u64)>,
    /// The position of its first connection.
    pub start: Option<u64>,
    /// For each message, whether a reset came just before it.
    pub resets: Vec<usize>,
    /// The number after which the next connection continues.
    pub last: Option<u64>,
    /// Whether a connection is open.
    pub is_open: bool,
}

pub type SharedLog = Arc<(Mutex<Log>, Condvar)>;

/// A client that leaves after some messages, and does not always read.
pub struct Reader {
    pub log: SharedLog,
    /// The messages that it reads before it leaves.
    pub stays: usize,
    pub is_gone: bool,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.log.0.lock().unwrap().is_open = false;
        self.log.1.notify_all();
    }
}

impl Reader {
    fn read(&mut self, text: &str) {
        let mut log = self.log.0.lock().unwrap();
        let (text, number) = text.split_once('@').unwrap();
        log.messages.push((text.to_owned(), number.parse().unwrap()));
        log.last = Some(number.parse().unwrap());
        self.stays = self.stays.saturating_sub(1);
        self.is_gone = self.stays == 0 || text == END;
    }
}

impl Client for Reader {
    fn peer(&self) -> IpAddr {
        Ipv4Addr::LOCALHOST.into()
    }

    fn notice(&mut self, notice: Notice) -> Bytes {
        let mut log = self.log.0.lock().unwrap();
        match notice {
            Notice::Open(Some(position)) => {
                log.start.get_or_insert(position.number);
                log.last = Some(position.number);
            }
            Notice::Reset(Some(position)) => {
                let at = log.messages.len();
                log.resets.push(at);
                log.last = Some(position.number);
            }
            _ => {}
        }
        Bytes::new()
    }

    fn poll_write(&mut self, outbox: &mut Outbox, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        loop {
            if self.is_gone {
                return Poll::Ready(Err(Gone));
            }
            if !outbox.is_empty() && thread_rng().gen_bool(0.2) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match outbox.take(Encoding::Sse) {
                Some(text) => self.read(std::str::from_utf8(&text).unwrap()),
                None => return Poll::Ready(Ok(())),
            }
        }
    }

    fn poll_read(&mut self, _: &mut Outbox, _: &mut Context<'_>) -> Result<Received, Gone> {
        if self.is_gone { Err(Gone) } else { Ok(Received::Nothing) }
    }

    fn poll_end(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}
