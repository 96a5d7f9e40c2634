//! What a builder accepts, and what it refuses.

use std::net::Ipv4Addr;

use fanfare::{Builder, Config, Host, Sources, StartError};
use serde_json::{Value, json};

use crate::cli::project::Project;
use crate::harness::{Connection, binary};

/// Any free port.
const ANY: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

fn builder() -> Builder {
    Host::builder().listen(ANY).admin_listen(ANY).compiler(binary())
}

async fn status_of(host: Result<fanfare::RunningHost, StartError>) -> u16 {
    let host = host.unwrap();
    assert!(host.not_ready().is_empty(), "{:?}", host.not_ready());
    Connection::open(host.addr()).await.send("POST", "/api/echo/echo", &[], "").await.status
}

#[tokio::test]
async fn the_settings_come_from_a_folder_sources_a_text_or_code() {
    let project = Project::with(&["echo"]);
    let (dir, file) = (project.path().to_owned(), project.path().join("fanfare.json"));
    let text = project.read("fanfare.json");
    let config = Config::from_text(&text, &dir).unwrap();
    let sources = Sources { config: Some(file), ..Sources::default() };
    assert_eq!(status_of(builder().dir(&dir).start().await).await, 204);
    assert_eq!(status_of(builder().sources(sources).start().await).await, 204);
    assert_eq!(status_of(builder().text(text, &dir).start().await).await, 204);
    assert_eq!(status_of(builder().config(config).start().await).await, 204);
}

#[tokio::test]
async fn the_addresses_are_known_before_the_modules_are_loaded() {
    let project = Project::with(&["echo"]);
    let host = builder().dir(project.path()).lost_log_lines(|| 7).bind().unwrap();
    let (addr, admin_addr) = (host.addr(), host.admin_addr());
    assert!(addr.port() != 0 && admin_addr.port() != 0 && addr != admin_addr);
    let waiting = tokio::net::TcpStream::connect(addr).await;
    let host = host.start().await.unwrap();
    assert_eq!((host.addr(), host.admin_addr()), (addr, admin_addr));
    assert!(waiting.is_ok(), "a connection waits until the modules are loaded");
    let metrics = Connection::open(admin_addr).await.send("GET", "/metrics", &[], "").await;
    assert!(metrics.text().contains("fanfare_log_lines_lost_total 7"), "{}", metrics.text());
    assert_eq!(status_of(Ok(host)).await, 204);
}

#[tokio::test]
async fn another_folder_of_modules_replaces_the_one_of_the_settings() {
    let (project, modules) = (Project::with(&[]), Project::with(&["echo"]));
    let host = builder().dir(project.path()).modules_dir(modules.path().join("modules")).start().await;
    assert_eq!(status_of(host).await, 204);
}

#[tokio::test]
async fn faults_of_the_settings_stop_the_start_with_their_place() {
    let project = Project::with(&[]);
    let error = builder().text(r#"{ "wokers": 2 }"#, project.path()).start().await.err().unwrap();
    assert!(matches!(error, StartError::Settings(_)));
    assert_eq!(error.to_string(), "fanfare.json:1:3: wokers: unknown key; did you mean \"workers\"?");
}

#[test]
fn a_host_without_a_compiler_is_refused_with_both_ways_to_name_one() {
    let error = Host::builder().bind().err().unwrap();
    assert!(matches!(error, StartError::NoCompiler));
    let text = error.to_string();
    assert!(text.contains("Builder::compiler") && text.contains("fanfare::compile_if_asked()"), "{text}");
}

/// A child process of this test is a process that was started to compile.
#[test]
fn a_host_in_a_process_that_should_compile_is_refused() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("compile-component") {
        let error = builder().bind().err().unwrap();
        assert!(matches!(error, StartError::CompilerProcess), "{error}");
        assert!(error.to_string().contains("fanfare::compile_if_asked()"), "{error}");
        return;
    }
    let name = "embedding::builder::a_host_in_a_process_that_should_compile_is_refused";
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    let child = child.args(["compile-component", "--exact", name]).output().unwrap();
    let text = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn a_host_without_workers_is_refused() {
    let mut config = Config::from_text("{}", std::path::Path::new("/")).unwrap();
    config.workers = 0;
    let error = builder().config(config).bind().err().unwrap();
    assert_eq!(error.to_string(), "Builder::config: workers is 0, but a host needs a worker; set at least 1");
}

#[test]
fn options_are_any_value_that_json_expresses() {
    #[derive(serde::Serialize)]
    struct Options {
        region: &'static str,
        sizes: Vec<u32>,
    }
    assert!(builder().options(Options { region: "eu", sizes: vec![1, 2] }).bind().is_ok());
    assert!(builder().options("text").bind().is_ok());
    let keys = std::collections::BTreeMap::from([(vec![1], "list")]);
    let error = builder().options(keys).bind().err().unwrap();
    assert!(matches!(error, StartError::Options(_)));
    assert!(error.to_string().starts_with("Builder::options: cannot write the options as JSON: "), "{error}");
}

#[test]
fn options_above_1_mib_are_refused() {
    // With quotes, the text has exactly 1 MiB.
    let text = "x".repeat((1 << 20) - 2);
    assert!(builder().options(&text).bind().is_ok());
    let error = builder().options(text + "x").bind().err().unwrap();
    assert_eq!(
        error.to_string(),
        "Builder::options: the options have 1048577 bytes as JSON, but at most 1048576 are allowed; pass less"
    );
}

#[test]
fn the_settings_have_options_of_any_form() {
    let root = std::path::Path::new("/");
    let options = |text: &str| Config::from_text(text, root).unwrap().options;
    assert_eq!(options("{}"), json!({}));
    assert_eq!(options(r#"{ "options": { "a": [1, { "b": null }] } }"#), json!({ "a": [1, { "b": null }] }));
    assert_eq!(options(r#"{ "options": 7 }"#), Value::from(7));
}
