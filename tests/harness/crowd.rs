//! Thousands of clients in a process of their own, which has as many descriptors as the system
//! allows. The process is this test program again.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::eventually;

/// The wanted number of clients. `FANFARE_TEST_STREAMS` sets another.
const CLIENTS: usize = 10_000;

/// The descriptors of the host that are no clients.
const OTHERS: usize = 320;

/// A generous bound on the memory of an idle client in bytes. The benchmarks measure it.
const MOST_MEMORY: f64 = 6_000.0;

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

/// Connects many clients, lets them receive something, and ends them, three times. An idle client
/// costs little memory, and none of it stays. `test` is as in [`Crowd::start`], `resident` the
/// memory of the host, `count` the number of its clients. `publish` sends messages in a round, and
/// checks that all arrive.
pub async fn come_and_go(
    test: &str,
    address: SocketAddr,
    resident: impl Fn() -> f64,
    count: impl AsyncFn() -> u64,
    mut publish: impl AsyncFnMut(&mut Crowd, usize, u32),
) {
    let clients = clients();
    assert_eq!(count().await, 0);
    let before = resident();
    let mut after_rounds = Vec::new();
    for round in 0..3 {
        let begun = Instant::now();
        let mut crowd = Crowd::start(test, address, clients);
        assert_eq!((crowd.open(), count().await), (clients, clients as u64));
        let each = (resident() - before) / clients as f64;
        println!("{clients} idle clients after {:?}: {each:.0} bytes of memory each", begun.elapsed());
        assert!(each < MOST_MEMORY, "{each} bytes for each client");
        // The host serves requests as before.
        let asked = Instant::now();
        count().await;
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
        publish(&mut crowd, clients, round).await;
        // All of them leave at once.
        crowd.signal(Signal::KILL);
        eventually("all have left", || async { count().await == 0 }).await;
        drop(crowd);
        after_rounds.push(resident());
        println!("round {round} took {:?}", begun.elapsed());
    }
    // The allocator keeps more memory after the second round than after the first one, and then no
    // more.
    let [_, second, third] = after_rounds[..] else { panic!() };
    assert!(third < second * 1.1 + 1e6, "memory grows: {second} bytes, then {third}");
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
fn clients() -> usize {
    let wanted = std::env::var("FANFARE_TEST_STREAMS").ok().and_then(|text| text.parse().ok()).unwrap_or(CLIENTS);
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let hard = line.split_whitespace().nth(1).unwrap().parse().unwrap_or(usize::MAX);
    wanted.min(hard.saturating_sub(OTHERS))
}
