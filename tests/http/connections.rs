//! How connections are assigned to workers, how long they last, and how much they carry.

use std::collections::BTreeMap;
use std::net::TcpListener;

use fanfare::{Config, Host};
use futures_util::future::join_all;
use serde_json::json;

use crate::harness::{Connection, TempDir, TestHost, binary};

/// Returns the worker that answers on a connection.
async fn who(connection: &mut Connection) -> String {
    let answer = connection.send("GET", "/api/echo/who", &[], "").await;
    answer.json()["isolate"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn connections_are_spread_over_the_workers_evenly() {
    let host = TestHost::with("echo").workers(3).start().await;
    let mut open = Vec::new();
    let mut count = BTreeMap::<String, u32>::new();
    for _ in 0..12 {
        let mut connection = Connection::open(host.http).await;
        *count.entry(who(&mut connection).await).or_default() += 1;
        open.push(connection);
    }
    let evenly = ["worker-0", "worker-1", "worker-2"].map(|worker| (worker.to_owned(), 4));
    assert_eq!(count, BTreeMap::from(evenly));
}

#[tokio::test]
async fn a_connection_stays_with_its_worker_for_all_its_requests() {
    let host = TestHost::with("echo").start().await;
    let mut connection = Connection::open(host.http).await;
    let first = who(&mut connection).await;
    for count in 2..=50 {
        let answer = connection.send("GET", "/api/echo/who", &[], "").await.json();
        assert_eq!(answer, json!({ "isolate": first, "count": count }));
    }
    connection.send("GET", "/api/echo/nothing", &[], "").await;
    assert_eq!(who(&mut connection).await, first, "an error does not close the connection");
}

#[tokio::test]
async fn twenty_thousand_requests_over_32_connections_each_get_their_own_response() {
    let host = TestHost::with("echo").start().await;
    let run = async |number: usize| {
        let mut connection = Connection::open(host.http).await;
        for turn in 0..625 {
            let body = format!("{number}.{turn}");
            let answer = connection.send("POST", "/api/echo/echo", &[], body.as_str()).await;
            assert_eq!((answer.status, answer.text()), (200, body.as_str()));
        }
    };
    join_all((0..32).map(run)).await;
    let mut ended = 0.0;
    for worker in [0, 1] {
        ended += host.ended("echo", worker, "http", "ok").await;
    }
    assert_eq!(ended, 20_000.0);
}

#[tokio::test]
async fn a_busy_port_is_one_error_that_names_address_key_and_flag() {
    let dir = TempDir::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for (section, flag) in [("http", "--listen"), ("admin", "--admin")] {
        let mut text = json!({ "http": { "listen": "127.0.0.1:0" }, "admin": { "listen": "127.0.0.1:0" } });
        text[section]["listen"] = json!(address);
        let config = Config::from_text(&text.to_string(), dir.path()).unwrap();
        let error =
            Host::builder().config(config).compiler(binary()).bind().err().expect("the port is busy").to_string();
        assert!(error.contains(&address.to_string()), "{error}");
        assert!(error.contains(&format!("{section}.listen")) && error.contains(flag), "{error}");
        assert_eq!(error.lines().count(), 1);
    }
}
