//! Thousands of clients in a process of their own, which has as many descriptors as the system
//! allows. The process is this test program again.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// The wanted number of clients. `FANFARE_TEST_STREAMS` sets another.
const CLIENTS: usize = 10_000;

/// The descriptors of the host that are no clients.
const OTHERS: usize = 320;

const ADDRESS: &str = "FANFARE_TEST_CLIENTS_OF";

/// The process of the clients.
pub struct Crowd {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Crowd {
    /// Starts the clients of a host. `test` is the test that calls [`Crowd::run`].
    pub fn start(test: &str, address: SocketAddr, clients: usize) -> Crowd {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "--nocapture", test]).env(ADDRESS, format!("{address} {clients}"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Crowd { child, input, output: BufReader::new(output) }
    }

    /// The process itself: connects each client by its number, and reads from all of them on
    /// command. Does nothing unless [`Crowd::start`] has started this process.
    pub fn run(connect: impl Fn(TcpStream, usize) -> TcpStream) {
        let Ok(wanted) = std::env::var(ADDRESS) else { return };
        fanfare::raise_descriptor_limit();
        let (address, clients) = wanted.split_once(' ').unwrap();
        let clients: usize = clients.parse().unwrap();
        let opened = (0..clients).map(|number| {
            let stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            connect(stream, number)
        });
        let mut open: Vec<TcpStream> = opened.collect();
        println!("\nopen {clients}");
        for text in std::io::stdin().lock().lines() {
            let text = text.unwrap();
            let received = open.iter_mut().filter_map(|stream| read_until(stream, &text)).count();
            println!("\nreceived {received}");
        }
    }

    /// Waits until all clients are connected. Returns their number.
    pub fn open(&mut self) -> usize {
        tokio::task::block_in_place(|| self.number("open"))
    }

    /// Lets every client read until it has `text`. Returns how many have.
    pub fn read(&mut self, text: &str) -> usize {
        writeln!(self.input, "{text}").unwrap();
        tokio::task::block_in_place(|| self.number("received"))
    }

    /// Waits for a line that begins with a word, and returns the number after it.
    fn number(&mut self, word: &str) -> usize {
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the clients have ended");
            // The test program prints lines of its own.
            if let Some(number) = line.split(' ').skip_while(|part| *part != word).nth(1) {
                return number.trim().parse().unwrap();
            }
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads until `text` has arrived. `None` if the stream ends before, or nothing arrives.
pub fn read_until(stream: &mut TcpStream, text: &str) -> Option<()> {
    let (mut received, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    while !received.windows(text.len()).any(|part| part == text.as_bytes()) {
        // Only the end of what was searched can be the beginning of the text.
        received.drain(..received.len().saturating_sub(text.len()));
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        received.extend_from_slice(&buffer[..count]);
    }
    Some(())
}

/// The number of clients that fit, at most the wanted one.
pub fn clients() -> usize {
    let wanted = std::env::var("FANFARE_TEST_STREAMS").ok().and_then(|text| text.parse().ok()).unwrap_or(CLIENTS);
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let hard = line.split_whitespace().nth(1).unwrap().parse().unwrap_or(usize::MAX);
    wanted.min(hard.saturating_sub(OTHERS))
}
