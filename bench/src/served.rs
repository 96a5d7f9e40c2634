//! `fanfare serve` on its own core, with modules whose components the benchmark replaces.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::{http, machine};

pub struct Served {
    child: Child,
    pub http: String,
    admin: String,
    dir: PathBuf,
}

impl Served {
    /// Serves the modules in `modules` of a folder, with two workers.
    pub fn start(dir: &Path, core: Option<&str>) -> Served {
        // A swap starts only on request, and then immediately.
        let swap = json!({ "watch": false, "settle": "0ms", "removal": "0ms" });
        fs::write(dir.join("fanfare.json"), json!({ "workers": 2, "swap": swap }).to_string()).unwrap();
        let [http, admin] = [(); 2].map(|()| format!("127.0.0.1:{}", http::free_port()));
        let mut command = match core {
            Some(core) => {
                let mut command = Command::new("taskset");
                command.args(["-c", core]).arg(machine::fanfare());
                command
            }
            None => Command::new(machine::fanfare()),
        };
        command.current_dir(dir).args(["serve", "--env", "production", "--listen", &http, "--admin", &admin]);
        let log = fs::File::create(dir.join("log")).unwrap();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let line = http::first_line(&mut child);
        assert!(line.starts_with("fanfare serves"), "{line}: see {}", dir.join("log").display());
        Served { child, http, admin, dir: dir.to_owned() }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Replaces a file in a module's folder by rename.
    pub fn put(&self, module: &str, name: &str, bytes: &[u8]) {
        let folder = self.dir.join("modules").join(module);
        let new = folder.join(format!(".{name}.new"));
        fs::write(&new, bytes).unwrap();
        fs::rename(new, folder.join(name)).unwrap();
    }

    /// Sends a request to the admin listener and returns the body of the response.
    pub fn admin(&self, method: &str, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.admin).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_else(|| panic!("{answer}"))
    }

    pub fn reload(&self, module: &str) -> Value {
        let answer = self.admin("POST", &format!("/v1/modules/{module}/reload"), "");
        serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{answer}"))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns a component with different bytes and the same behaviour.
pub fn variant(component: &[u8], number: u32) -> Vec<u8> {
    let name = format!("variant-{number:08}");
    let length = u8::try_from(name.len()).unwrap();
    [component, &[0, length + 1, length], name.as_bytes()].concat()
}
