//! Servers that want a login, a certificate, or permissions.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fanfare::StartError;
use nkeys::KeyPair;
use serde_json::{Value, json};

use super::{heard, on, sees};
use crate::cli::project::{Project, Serving};
use crate::harness::{Nats, Started, TempDir, TestHost, eventually, node, root, sign_server};
use crate::rpc::end;

/// A node whose `cluster` has further keys, with files in its folder.
fn host(nats: &str, id: &str, login: &Value, files: &[(&str, &str)]) -> TestHost {
    let host = TestHost::waits_for(&[]).config(node(id, "node", nats)).config(json!({ "cluster": login }));
    files.iter().fold(host, |host, (name, text)| host.file(name, text))
}

async fn reason(host: &Started) -> String {
    host.admin("GET", "/v1/nodes", "").await.json()["reason"].as_str().unwrap_or_default().to_owned()
}

/// Two nodes with the right secrets call each other. A node with other ones serves alone, and says
/// which settings are wrong. No secret is in the log.
async fn only_with(nats: &str, right: (Value, &[(&str, &str)]), wrong: (Value, &[(&str, &str)]), named: &str) {
    let a = host(nats, "a-1", &right.0, right.1).start().await;
    let b = host(nats, "b-1", &right.0, right.1).start().await;
    for host in [&a, &b] {
        sees(host, &[("a-1", "waits"), ("b-1", "waits")]).await;
    }
    assert_eq!(end(&a.nested(0, on("b-1", "waits/ok")).await), "ok");
    let c = host(nats, "c-1", &wrong.0, wrong.1).start().await;
    eventually("it says why", || async { reason(&c).await.contains(named) }).await;
    assert_eq!(end(&c.nested(0, on("c-1", "waits/ok")).await), "ok", "it serves alone");
    sees(&a, &[("a-1", "waits"), ("b-1", "waits")]).await;
    assert!(c.log.contains(&["NATS is away", named]), "{named}");
    for (_, text) in right.1.iter().chain(wrong.1) {
        for line in text.lines().filter(|line| line.len() > 20 && !line.contains(' ') && !line.contains("---")) {
            assert!(!c.log.contains(&[line]), "{line} is in the log");
        }
    }
}

#[tokio::test]
async fn a_node_logs_in_with_a_user_and_a_password() {
    let conf = "authorization { users = [ { user: fanfare, password: \"right-password-4711-long\" } ] }";
    for nats in Nats::all_configured(conf).await {
        let login = json!({ "username": "fanfare", "passwordFile": "secret" });
        let right = ("secret", "right-password-4711-long\n");
        let wrong = ("secret", "wrong-password-4712-long\n");
        let named = "check cluster.username and cluster.passwordFile";
        only_with(&nats.url(), (login.clone(), &[right]), (login, &[wrong]), named).await;
    }
}

#[tokio::test]
async fn a_node_logs_in_with_a_token() {
    for nats in Nats::all_configured("authorization { token: \"right-token-of-a-node-0815\" }").await {
        let login = json!({ "tokenFile": "secret" });
        let (right, wrong) = (("secret", "right-token-of-a-node-0815"), ("secret", "wrong-token-of-a-node-0816"));
        only_with(&nats.url(), (login.clone(), &[right]), (login, &[wrong]), "check cluster.tokenFile").await;
        let none = host(&nats.url(), "d-1", &json!({}), &[]).start().await;
        let told = || async { reason(&none).await.contains("the server wants a login: set cluster.username") };
        eventually("it says what is missing", told).await;
    }
}

#[tokio::test]
async fn a_node_logs_in_with_an_nkey() {
    let (right, wrong) = (KeyPair::new_user(), KeyPair::new_user());
    let conf = format!("authorization {{ users = [ {{ nkey: {} }} ] }}", right.public_key());
    for nats in Nats::all_configured(&conf).await {
        let login = json!({ "nkeyFile": "seed" });
        let (right, wrong) = (right.seed().unwrap(), wrong.seed().unwrap());
        let (right, wrong) = ([("seed", right.as_str())], [("seed", wrong.as_str())]);
        only_with(&nats.url(), (login.clone(), &right), (login.clone(), &wrong), "check cluster.nkeyFile").await;
    }
}

/// A token of NATS: claims that a key has signed.
fn jwt(signer: &KeyPair, subject: &KeyPair, claims: Value) -> String {
    let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = encode(json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
    let (issuer, key) = (signer.public_key(), subject.public_key());
    let body = json!({ "jti": key, "iat": 1_700_000_000, "iss": issuer, "name": "test", "sub": key, "nats": claims });
    let text = format!("{head}.{}", encode(body));
    let signature = URL_SAFE_NO_PAD.encode(signer.sign(text.as_bytes()).unwrap());
    format!("{text}.{signature}")
}

/// A credentials file.
fn credentials(account: &KeyPair) -> String {
    let user = KeyPair::new_user();
    let claims = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
    let (token, seed) = (jwt(account, &user, claims), user.seed().unwrap());
    let token = format!("-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n");
    format!("{token}-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n")
}

#[tokio::test]
async fn a_node_logs_in_with_a_credentials_file() {
    let (operator, account, system) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account());
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1,
        "leaf": -1,
    });
    let of = |key: &KeyPair| jwt(&operator, key, json!({ "type": "account", "version": 2, "limits": limits }));
    let conf = format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{ {}: {}, {}: {} }}",
        jwt(&operator, &operator, json!({ "type": "operator", "version": 2 })),
        system.public_key(),
        account.public_key(),
        of(&account),
        system.public_key(),
        of(&system),
    );
    let (right, wrong) = (credentials(&account), credentials(&KeyPair::new_account()));
    for nats in Nats::all_configured(&conf).await {
        let login = json!({ "credentialsFile": "fanfare.creds" });
        let (right, wrong) = ([("fanfare.creds", right.as_str())], [("fanfare.creds", wrong.as_str())]);
        only_with(&nats.url(), (login.clone(), &right), (login, &wrong), "check cluster.credentialsFile").await;
    }
}

#[tokio::test]
async fn tls_needs_the_right_authority_and_the_certificate_of_the_node() {
    let (dir, other) = (TempDir::new(), TempDir::new());
    for dir in [&dir, &other] {
        if !sign_server(dir.path(), "IP:127.0.0.1,DNS:localhost") {
            return;
        }
    }
    let file = |dir: &TempDir, name: &str| dir.path().join(name).display().to_string();
    let conf = format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", verify: true }}",
        file(&dir, "server.pem"),
        file(&dir, "server.key"),
        file(&dir, "ca.pem")
    );
    for nats in Nats::all_configured(&conf).await {
        let url = format!("tls://{}", nats.address());
        let own = |dir: &TempDir| json!({ "certificate": file(dir, "server.pem"), "key": file(dir, "server.key") });
        let with = |ca: &TempDir, own: Value| {
            let mut login = own;
            login["ca"] = json!(file(ca, "ca.pem"));
            login
        };
        let right = with(&dir, own(&dir));
        only_with(&url, (right.clone(), &[]), (with(&dir, json!({})), &[]), "set cluster.certificate and cluster.key")
            .await;
        for (login, named) in [
            (with(&other, own(&dir)), "check cluster.ca"),
            (with(&dir, own(&other)), "check cluster.certificate and cluster.key"),
        ] {
            let c = host(&url, "c-1", &login, &[]).start().await;
            eventually(named, || async { reason(&c).await.contains(named) }).await;
        }
        // Without TLS, nothing is sent.
        let plain = host(&nats.url(), "d-1", &json!({}), &[]).start().await;
        eventually("a plain URL is no way around", || async { reason(&plain).await.contains("check cluster.ca") })
            .await;
    }
}

#[tokio::test]
async fn a_secret_or_a_file_that_cannot_be_used_is_named_at_the_start() {
    let tls = "tls://127.0.0.1:1";
    let login = |key: &str| json!({ key: "file" });
    let pair = json!({ "certificate": "missing", "key": "missing" });
    for (nats, login, file, parts) in [
        ("127.0.0.1:1", login("tokenFile"), None, ["cluster.tokenFile", "No such file"]),
        ("127.0.0.1:1", login("nkeyFile"), Some("SUAM"), ["cluster.nkeyFile", "no seed of an NKey"]),
        ("127.0.0.1:1", login("credentialsFile"), Some("nothing"), ["cluster.credentialsFile", "cannot parse"]),
        (tls, login("ca"), None, ["cluster.ca", "No such file"]),
        (tls, login("ca"), Some("no certificate"), ["cluster.ca", "has no certificate in PEM"]),
        (tls, pair, None, ["cluster.certificate", "missing"]),
    ] {
        let nats = if nats.contains("://") { nats.to_owned() } else { format!("nats://{nats}") };
        let files: Vec<_> = file.iter().map(|text| ("file", *text)).collect();
        let Err(StartError::Cluster(error)) = host(&nats, "a-1", &login, &files).try_start().await else {
            panic!("it started with {login}");
        };
        let text = error.to_string();
        assert!(parts.iter().all(|part| text.to_lowercase().contains(&part.to_lowercase())), "{login}: {text}");
    }
}

/// The text of a page.
fn page(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}

/// The subjects that docs/nats.md lists for the consumer `billing` of the stream `ORDERS`.
pub fn documented_for_a_consumer() -> Vec<String> {
    let page = page("docs/nats.md");
    let begin = page.find("$JS.API.CONSUMER.INFO.ORDERS.billing").unwrap();
    let block = page[begin..].split("```").next().unwrap();
    block.lines().map(str::to_owned).collect()
}

/// The permissions that docs/cluster.md shows.
pub fn documented() -> String {
    let page = page("docs/cluster.md");
    let begin = page.find("authorization {").unwrap();
    let block = page[begin..].split("```").next().unwrap();
    assert!(block.contains("password: \"..\""), "{block}");
    block.replace("\"..\"", "\"secret\"")
}

/// What the server answers to a line of a client that has logged in.
fn answer(nats: &Nats, line: &str) -> String {
    let mut stream = TcpStream::connect(nats.address()).unwrap();
    let login = "CONNECT {\"verbose\":false,\"user\":\"fanfare\",\"pass\":\"secret\"}";
    stream.write_all(format!("{login}\r\n{line}\r\nPING\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    loop {
        let mut chunk = [0; 4_096];
        let size = stream.read(&mut chunk).unwrap();
        answer.extend_from_slice(&chunk[..size]);
        let text = String::from_utf8_lossy(&answer);
        if size == 0 || text.contains("PONG") {
            return text.into_owned();
        }
    }
}

/// A node in a process of its own, whose log has everything.
async fn process(nats: &Nats, id: &str) -> (Project, Serving) {
    let mut settings = node(id, "node", &nats.url());
    settings["cluster"]["username"] = json!("fanfare");
    settings["cluster"]["passwordFile"] = json!("secret");
    let rights = json!({ "rpc": ["echo", "serial", "counts"], "broadcast": ["counts"] });
    let project = Project::with(&["waits", "echo"]).config(settings).file("secret", "secret");
    let project = project.config(json!({ "modules": { "waits": { "grants": rights } } }));
    let serving = project.serve(&[]).await;
    (project, serving)
}

fn log_of(project: &Project) -> String {
    std::fs::read_to_string(Path::new(project.path()).join("log")).unwrap()
}

#[tokio::test]
async fn the_permissions_of_the_documentation_are_enough() {
    for nats in Nats::all_configured(&documented()).await {
        for line in ["SUB other.> 1", "PUB other.x 1\r\nx"] {
            assert!(answer(&nats, line).contains("Permissions Violation"), "the server enforces them: {line}");
        }
        let login = json!({ "username": "fanfare", "passwordFile": "secret" });
        let a = host(&nats.url(), "a-1", &login, &[("secret", "secret")]).start().await;
        let (project, b) = process(&nats, "b-1").await;
        sees(&a, &[("a-1", "waits"), ("b-1", "waits")]).await;
        assert_eq!(end(&a.nested(0, on("b-1", "waits/ok")).await), "ok");
        let every = a.run(0, "waits", "every", json!({ "route": "waits/ok", "group": "cluster" })).await;
        assert_eq!(every.as_array().unwrap().len(), 4, "{every}");
        assert_eq!(a.gather("waits", "wave", "all").await.len(), 4);
        let receipt = a.emit("waits", "wave", "more").await;
        assert_eq!((&receipt["accepted"], &receipt["nodes"]), (&json!(2), &json!(1)), "{receipt}");
        eventually("it runs here", || async { heard(&a, 0).await == json!(["all", "more"]) }).await;
        let ran = || async { b.metric("fanfare_calls_total", &["module=\"waits\"", "trigger=\"broadcast\""]).await };
        eventually("it runs there", || async { ran().await == 4.0 }).await;
        let notify = json!({ "route": "/hear", "payload": "note", "group": "nodes" });
        assert_eq!(a.run(0, "waits", "notify", notify).await, json!({ "ok": 2 }));
        let second = host(&nats.url(), "b-1", &login, &[("secret", "secret")]).try_start().await;
        assert!(matches!(second, Err(StartError::Cluster(_))), "an id in use is noticed");
        // Reloads and schedules use the bucket.
        let reloaded = a.reload("waits").await;
        assert_eq!(reloaded["nodes"][0]["outcome"], "swapped", "{reloaded}");
        assert_eq!(b.stop().await.0, Some(0));
        sees(&a, &[("a-1", "waits")]).await;
        let log = log_of(&project);
        assert!(!log.contains("NATS refuses something") && !log.contains("changes the module alone"), "{log}");
    }
}

#[tokio::test]
async fn a_log_of_everything_has_no_secret() {
    let conf = "authorization { users = [ { user: fanfare, password: \"a-password-that-nobody-logs\" } ] }";
    let Some(nats) = Nats::configured(conf).await else { return };
    let mut settings = node("a-1", "node", &nats.url());
    settings["cluster"]["username"] = json!("fanfare");
    settings["cluster"]["passwordFile"] = json!("secret");
    let project = Project::with(&["waits"]).config(settings).file("secret", "a-password-that-nobody-logs");
    let serving = project.serve(&["--log", "trace"]).await;
    let up = || async { serving.operator("GET", "/v1/nodes").await.json()["state"] == "up" };
    eventually("it is connected", up).await;
    let log = serving.log();
    assert!(log.contains("write operation"), "the log has the lines of the client");
    assert!(!log.contains("a-password-that-nobody-logs"));
    for path in ["/v1/nodes", "/v1/config", "/v1/status", "/metrics"] {
        let text = serving.operator("GET", path).await.text().to_owned();
        assert!(!text.contains("a-password-that-nobody-logs"), "{path}");
    }
}
