//! A client that transfers one large body, in a process of its own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const PART: usize = 64 * 1024;

/// Sends or receives a body, as the path says, and prints the seconds. The arguments are the port,
/// the path, the size of the body, and how many seconds a read or a write may take.
pub fn main(arguments: &[String]) {
    let [port, path, size, patience] = arguments else { panic!("{arguments:?}") };
    let (size, patience): (u64, u64) = (size.parse().unwrap(), patience.parse().unwrap());
    let mut stream = TcpStream::connect(("127.0.0.1", port.parse::<u16>().unwrap())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(patience))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(patience))).unwrap();
    let begun = Instant::now();
    let head = "host: localhost\r\nconnection: close\r\n";
    if path.ends_with("upload") {
        write!(stream, "POST {path} HTTP/1.1\r\n{head}content-length: {size}\r\n\r\n").unwrap();
        let part = vec![b'x'; PART];
        let mut left = size;
        while left > 0 {
            let length = left.min(PART as u64);
            stream.write_all(&part[..usize::try_from(length).unwrap()]).unwrap();
            left -= length;
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(&size.to_string()), "{answer}");
    } else {
        write!(stream, "GET {path} HTTP/1.1\r\n{head}\r\n").unwrap();
        let (mut part, mut received) = (vec![0; PART], 0);
        loop {
            let length = stream.read(&mut part).unwrap();
            if length == 0 {
                break;
            }
            if received == 0 {
                assert!(part.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&part[..length]));
            }
            received += length as u64;
        }
        assert!(received > size, "{received} bytes");
    }
    println!("{}", begun.elapsed().as_secs_f64());
}
