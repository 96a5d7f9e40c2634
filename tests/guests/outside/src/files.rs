//! Files through the standard library.

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};

use fanfare_sdk::prelude::*;
use serde::Deserialize;
use wasip2::filesystem::preopens;
use wasip2::filesystem::types::{self, DescriptorFlags, OpenFlags, PathFlags};
use wasip2::io::streams::StreamError;

thread_local! {
    /// Files that stay open.
    static OPEN: RefCell<Vec<File>> = const { RefCell::new(Vec::new()) };
}

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "camelCase")]
pub enum Command {
    Read {
        path: String,
    },
    Write {
        path: String,
        size: usize,
    },
    Append {
        path: String,
        size: usize,
    },
    Resize {
        path: String,
        size: u64,
    },
    List {
        path: String,
    },
    MakeFolder {
        path: String,
    },
    Remove {
        path: String,
    },
    Rename {
        from: String,
        to: String,
    },
    HardLink {
        from: String,
        to: String,
    },
    /// Creates the files `path/0`, `path/1` .. until it fails. Returns how many it created.
    Create {
        path: String,
        count: usize,
    },
    /// Opens a file until that fails and keeps all handles. Returns how many.
    Open {
        path: String,
        count: usize,
    },
    Close,
    /// Writes to a stream until that fails. Returns the text of the error.
    Fail {
        folder: String,
    },
    /// Writes to a new file without a stream.
    WriteAt {
        folder: String,
        size: usize,
    },
    /// Begins to list a folder until that fails. Returns how many lists there are.
    Lists {
        folder: String,
        count: usize,
    },
}

pub fn run(command: &Command) -> io::Result<Value> {
    Ok(match command {
        Command::Read { path } => fs::read_to_string(path)?.into(),
        Command::Write { path, size } => fs::write(path, vec![b'x'; *size])?.into_value(),
        Command::Append { path, size } => {
            OpenOptions::new().append(true).create(true).open(path)?.write_all(&vec![b'x'; *size])?.into_value()
        }
        Command::Resize { path, size } => OpenOptions::new().write(true).open(path)?.set_len(*size)?.into_value(),
        Command::List { path } => {
            let names = fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
            let mut names = names.collect::<io::Result<Vec<String>>>()?;
            names.sort();
            names.into()
        }
        Command::MakeFolder { path } => fs::create_dir(path)?.into_value(),
        Command::Remove { path } => fs::remove_file(path)?.into_value(),
        Command::Rename { from, to } => fs::rename(from, to)?.into_value(),
        Command::HardLink { from, to } => fs::hard_link(from, to)?.into_value(),
        Command::Create { path, count } => {
            let created = (0..*count).take_while(|index| fs::write(format!("{path}/{index}"), "").is_ok());
            created.count().into()
        }
        Command::Open { path, count } => OPEN.with_borrow_mut(|open| {
            let opened = (0..*count).map_while(|_| File::open(path).ok());
            open.extend(opened);
            open.len().into()
        }),
        Command::Close => {
            OPEN.with_borrow_mut(Vec::clear);
            ().into_value()
        }
        Command::Fail { folder } => fail(folder).map_err(io::Error::other)?.into(),
        Command::WriteAt { folder, size } => create(folder, "at")
            .and_then(|file| file.write(&vec![b'x'; *size], 0).map_err(text))
            .map_err(io::Error::other)?
            .into(),
        Command::Lists { folder, count } => {
            let folder = folder_of(folder).map_err(io::Error::other)?;
            let lists: Vec<_> = (0..*count).map_while(|_| folder.read_directory().ok()).collect();
            lists.len().into()
        }
    })
}

fn text(code: types::ErrorCode) -> String {
    format!("{code:?}")
}

fn folder_of(path: &str) -> Result<types::Descriptor, String> {
    let found = preopens::get_directories().into_iter().find(|(_, name)| name == path);
    found.map(|(folder, _)| folder).ok_or_else(|| "no such folder".to_owned())
}

fn create(folder: &str, name: &str) -> Result<types::Descriptor, String> {
    folder_of(folder)?.open_at(PathFlags::empty(), name, OpenFlags::CREATE, DescriptorFlags::WRITE).map_err(text)
}

fn fail(folder: &str) -> Result<String, String> {
    let file = create(folder, "grows")?;
    let stream = file.append_via_stream().map_err(text)?;
    loop {
        match stream.blocking_write_and_flush(&[b'x'; 4_096]) {
            Ok(()) => {}
            Err(StreamError::LastOperationFailed(error)) => return Ok(error.to_debug_string()),
            Err(StreamError::Closed) => return Err("closed".to_owned()),
        }
    }
}

trait IntoValue {
    fn into_value(self) -> Value;
}

impl IntoValue for () {
    fn into_value(self) -> Value {
        true.into()
    }
}
