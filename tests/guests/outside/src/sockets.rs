//! Sockets through the standard library.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};

use fanfare_sdk::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "camelCase")]
pub enum Command {
    /// Sends a text and returns the reply.
    Tcp {
        to: String,
        text: String,
    },
    Udp {
        to: String,
        text: String,
    },
    Listen {
        at: String,
    },
    Lookup {
        name: String,
    },
}

pub fn run(command: &Command) -> io::Result<Value> {
    Ok(match command {
        Command::Tcp { to, text } => {
            let mut stream = TcpStream::connect(to)?;
            stream.write_all(text.as_bytes())?;
            let mut reply = vec![0; text.len()];
            stream.read_exact(&mut reply)?;
            String::from_utf8_lossy(&reply).into_owned().into()
        }
        Command::Udp { to, text } => {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.send_to(text.as_bytes(), to)?;
            let mut reply = [0; 1_024];
            let (size, _) = socket.recv_from(&mut reply)?;
            String::from_utf8_lossy(&reply[..size]).into_owned().into()
        }
        Command::Listen { at } => TcpListener::bind(at)?.local_addr()?.to_string().into(),
        Command::Lookup { name } => {
            let found: Vec<String> = (name.as_str(), 0).to_socket_addrs()?.map(|at| at.ip().to_string()).collect();
            found.into()
        }
    })
}
