//! A test authority, and the certificate of a server that it has signed.

use std::path::Path;
use std::process::Command;

use super::{not_run, program};

/// Writes `ca.pem`, `server.pem` and `server.key` to a folder. `names` are those of the server,
/// such as `IP:127.0.0.1,DNS:localhost`. Returns whether `openssl` is installed.
pub fn sign_server(dir: &Path, names: &str) -> bool {
    let Some(openssl) = program(&["openssl"]) else {
        not_run("TLS: install openssl with apt-get install openssl");
        return false;
    };
    std::fs::write(dir.join("names"), format!("subjectAltName={names}\n")).unwrap();
    for args in [
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.pem",
        "req -newkey rsa:2048 -nodes -subj /CN=server -keyout server.key -out server.csr",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem",
    ] {
        let made = Command::new(&openssl).args(args.split(' ')).current_dir(dir).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    true
}
