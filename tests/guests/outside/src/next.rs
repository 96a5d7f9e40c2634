//! Requests, files and sockets through WASI 0.3.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use fanfare_sdk::prelude::*;
use serde::Deserialize;
use wasip3::filesystem::preopens;
use wasip3::filesystem::types::{Descriptor, DescriptorFlags, DirectoryEntry, OpenFlags, PathFlags};
use wasip3::http::client;
use wasip3::http::types::{Fields, Method, Request, Response, Scheme};
use wasip3::sockets::ip_name_lookup::resolve_addresses;
use wasip3::sockets::types::{IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, TcpSocket, UdpSocket};
use wasip3::wit_bindgen::StreamReader;
use wasip3::{wit_future, wit_stream};

thread_local! {
    /// Files that stay open.
    static OPEN: RefCell<Vec<Descriptor>> = const { RefCell::new(Vec::new()) };
    /// Lists of folders that nobody reads.
    static LISTS: RefCell<Vec<StreamReader<DirectoryEntry>>> = const { RefCell::new(Vec::new()) };
    /// Sockets that stay open.
    static SOCKETS: RefCell<Vec<TcpSocket>> = const { RefCell::new(Vec::new()) };
}

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "camelCase")]
pub enum Command {
    /// Sends a request without TLS, with this number of bytes.
    Fetch {
        authority: String,
        path: String,
        send: usize,
    },
    /// Writes to the end of a file.
    Append {
        folder: String,
        name: String,
        size: usize,
    },
    /// Writes a byte to a file that is open to read.
    Overwrite {
        folder: String,
        name: String,
    },
    Resize {
        folder: String,
        name: String,
        size: u64,
    },
    /// Creates the files 0, 1 .. until it fails. Returns how many it created.
    Create {
        folder: String,
        count: usize,
    },
    /// Opens a file until that fails and keeps all handles. Returns how many.
    Open {
        folder: String,
        name: String,
        count: usize,
    },
    MakeFolder {
        folder: String,
        name: String,
    },
    Connect {
        port: u16,
    },
    Datagram {
        port: u16,
    },
    Listen,
    /// Binds a socket for datagrams to a port.
    Bind {
        port: u16,
    },
    Lookup {
        name: String,
    },
    /// Creates sockets until that fails and keeps them. Returns how many.
    Sockets {
        count: usize,
    },
    /// Returns the names in a folder.
    List {
        folder: String,
    },
    /// Begins to list a folder this often, and reads nothing.
    Lists {
        folder: String,
        count: usize,
    },
    Read {
        folder: String,
        name: String,
    },
    Close,
}

fn text(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}

pub async fn run(command: Command) -> Result<Value, String> {
    Ok(match command {
        Command::Fetch { authority, path, send } => fetch(authority, path, send).await?,
        Command::Append { folder, name, size } => {
            let file = open(&folder, name, OpenFlags::CREATE, DescriptorFlags::WRITE).await?;
            let (mut writer, reader) = wit_stream::new();
            let written = file.append_via_stream(reader);
            writer.write_all(vec![b'x'; size]).await;
            drop(writer);
            written.await.map_err(text)?;
            true.into()
        }
        Command::Overwrite { folder, name } => {
            let file = open(&folder, name, OpenFlags::empty(), DescriptorFlags::READ).await?;
            let (mut writer, reader) = wit_stream::new();
            let written = file.write_via_stream(reader, 0);
            writer.write_all(vec![b'x']).await;
            drop(writer);
            written.await.map_err(text)?;
            true.into()
        }
        Command::Resize { folder, name, size } => {
            let file = open(&folder, name, OpenFlags::empty(), DescriptorFlags::WRITE).await?;
            file.set_size(size).await.map_err(text)?;
            true.into()
        }
        Command::Create { folder, count } => {
            let mut created = 0;
            while created < count
                && open(&folder, created.to_string(), OpenFlags::CREATE, DescriptorFlags::WRITE).await.is_ok()
            {
                created += 1;
            }
            created.into()
        }
        Command::Open { folder, name, count } => {
            for _ in 0..count {
                let Ok(file) = open(&folder, name.clone(), OpenFlags::empty(), DescriptorFlags::READ).await else {
                    break;
                };
                OPEN.with_borrow_mut(|open| open.push(file));
            }
            OPEN.with_borrow(Vec::len).into()
        }
        Command::MakeFolder { folder, name } => {
            folder_of(&folder)?.create_directory_at(name).await.map_err(text)?;
            true.into()
        }
        Command::Connect { port } => {
            let socket = TcpSocket::create(IpAddressFamily::Ipv4).map_err(text)?;
            socket.connect(local(port)).await.map_err(text)?;
            true.into()
        }
        Command::Datagram { port } => {
            let socket = UdpSocket::create(IpAddressFamily::Ipv4).map_err(text)?;
            socket.send(b"ping".to_vec(), Some(local(port))).await.map_err(text)?;
            true.into()
        }
        Command::Listen => {
            let socket = TcpSocket::create(IpAddressFamily::Ipv4).map_err(text)?;
            drop(socket.listen().map_err(text)?);
            true.into()
        }
        Command::Bind { port } => {
            let socket = UdpSocket::create(IpAddressFamily::Ipv4).map_err(text)?;
            socket.bind(local(port)).map_err(text)?;
            true.into()
        }
        Command::Lookup { name } => resolve_addresses(name).await.map_err(text)?.len().into(),
        Command::Sockets { count } => SOCKETS.with_borrow_mut(|sockets| {
            sockets.extend((0..count).map_while(|_| TcpSocket::create(IpAddressFamily::Ipv4).ok()));
            sockets.len().into()
        }),
        Command::List { folder } => {
            let (entries, ended) = folder_of(&folder)?.read_directory();
            let mut names: Vec<String> = entries.collect().await.into_iter().map(|entry| entry.name).collect();
            ended.await.map_err(text)?;
            names.sort();
            names.into()
        }
        Command::Lists { folder, count } => {
            let folder = folder_of(&folder)?;
            let lists = (0..count).map(|_| folder.read_directory().0);
            LISTS.with_borrow_mut(|held| held.extend(lists));
            true.into()
        }
        Command::Read { folder, name } => {
            let file = open(&folder, name, OpenFlags::empty(), DescriptorFlags::READ).await?;
            let (bytes, ended) = file.read_via_stream(0);
            let size = bytes.collect().await.len();
            ended.await.map_err(text)?;
            size.into()
        }
        Command::Close => {
            OPEN.with_borrow_mut(Vec::clear);
            LISTS.with_borrow_mut(Vec::clear);
            SOCKETS.with_borrow_mut(Vec::clear);
            true.into()
        }
    })
}

fn local(port: u16) -> IpSocketAddress {
    IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address: (127, 0, 0, 1) })
}

fn folder_of(path: &str) -> Result<Descriptor, String> {
    let found = preopens::get_directories().into_iter().find(|(_, name)| name == path);
    found.map(|(folder, _)| folder).ok_or_else(|| "no such folder".to_owned())
}

async fn open(folder: &str, name: String, open: OpenFlags, flags: DescriptorFlags) -> Result<Descriptor, String> {
    folder_of(folder)?.open_at(PathFlags::empty(), name, open, flags).await.map_err(text)
}

async fn fetch(authority: String, path: String, send: usize) -> Result<Value, String> {
    let (mut body, body_reader) = wit_stream::new();
    let (trailers, trailers_reader) = wit_future::new(|| Ok(None));
    let contents = (send > 0).then_some(body_reader);
    let (request, sent) = Request::new(Fields::new(), contents, trailers_reader, None);
    let refused = |()| "the request is malformed".to_owned();
    request.set_scheme(Some(&Scheme::Http)).map_err(refused)?;
    request.set_authority(Some(&authority)).map_err(refused)?;
    request.set_path_with_query(Some(&path)).map_err(refused)?;
    if send > 0 {
        request.set_method(&Method::Post).map_err(refused)?;
    }
    let write = async move {
        if send > 0 {
            body.write_all(vec![b'x'; send]).await;
        }
        drop((body, trailers));
    };
    let response = both(client::send(request), write).await.map_err(text)?;
    drop(sent);
    let status = response.get_status_code();
    let (_, done) = wit_future::new(|| Ok(()));
    let (stream, ended) = Response::consume_body(response, done);
    let read = stream.collect().await;
    ended.await.map_err(text)?;
    Ok(json!({ "status": status, "size": read.len(), "body": String::from_utf8_lossy(&read[..read.len().min(1_000)]) }))
}

/// Runs two futures until the first one ends.
async fn both<T>(first: impl Future<Output = T>, second: impl Future<Output = ()>) -> T {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let mut ended = false;
    poll_fn(|cx| {
        ended = ended || second.as_mut().poll(cx).is_ready();
        match first.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(value),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
