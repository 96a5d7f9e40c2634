//! What the NATS servers of `cluster.nats` promise to keep. Clients are not told how often
//! JetStream writes to the disk, so this asks the monitoring port of each server (`http_port`).

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::streams::Streams;
use super::{Finding, State};
use crate::client::{Endpoint, exchange};
use fanfare::Config;
use fanfare::tooling::config::NatsAddress;
use fanfare::tooling::dial;
use fanfare::tooling::text::line;

/// The monitoring port that the documentation of NATS uses.
const MONITOR_PORT: u16 = 8222;

const PATIENCE: Duration = Duration::from_secs(2);

/// What `GET /varz` answers.
#[derive(Deserialize)]
struct Varz {
    /// The port for clients.
    port: u16,
    #[serde(default)]
    jetstream: JetStream,
}

#[derive(Default, Deserialize)]
struct JetStream {
    config: Option<JetStreamConfig>,
}

#[derive(Deserialize)]
struct JetStreamConfig {
    domain: Option<String>,
    /// In nanoseconds. Servers before 2.10 do not tell it.
    sync_interval: Option<u64>,
    #[serde(default)]
    sync_always: bool,
}

/// A finding for each NATS server. `monitor` is the monitoring port that the user has named.
pub async fn servers(config: &Config, monitor: Option<&Endpoint>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut streams = Streams::of(&config.cluster.name);
    let domain = config.cluster.jet_stream_domain.as_deref();
    for address in config.cluster.addresses() {
        let (state, text) = one(&address, monitor, domain, &mut streams).await;
        findings.push(Finding::new("nats", state, format!("{address}: {text}")));
    }
    findings.extend(streams.findings());
    findings
}

async fn one(
    address: &NatsAddress,
    monitor: Option<&Endpoint>,
    domain: Option<&str>,
    streams: &mut Streams,
) -> (State, String) {
    let dialled = tokio::time::timeout(PATIENCE, dial(&address.host, address.port)).await;
    if let Err(error) = dialled.map_err(|_| "it is silent".to_owned()).and_then(|met| met.map_err(|e| e.to_string())) {
        let why = format!("no server answers ({error}), so a host starts alone; start it, or correct cluster.nats");
        return (State::Warning, why);
    }
    let host = if address.host.contains(':') { format!("[{}]", address.host) } else { address.host.clone() };
    let usual = || format!("{host}:{MONITOR_PORT}").parse().ok();
    let Some(monitor) = monitor.cloned().or_else(usual) else { return (State::Note, unknown("")) };
    match told::<Varz>(&monitor, "/varz").await {
        Err(why) => (State::Note, unknown(&format!(" ({}: {why})", monitor.authority))),
        Ok(varz) if varz.port != address.port => {
            let other = format!(" ({} belongs to the server of port {})", monitor.authority, varz.port);
            (State::Note, unknown(&other))
        }
        Ok(varz) => {
            // A server without JetStream has none.
            if let Ok(told) = told(&monitor, "/jsz?streams=true&config=true").await {
                streams.add(told);
            }
            promise(varz.jetstream.config.as_ref(), domain)
        }
    }
}

/// What a page of the monitoring port says.
async fn told<T: DeserializeOwned>(monitor: &Endpoint, page: &str) -> Result<T, String> {
    let request = Request::get(page).body(Full::<Bytes>::default()).map_err(|error| error.to_string())?;
    let response = exchange(&monitor.authority, request, PATIENCE).await.map_err(|error| error.to_string())?;
    serde_json::from_slice(response.body()).map_err(|_| "no answer of a NATS server".to_owned())
}

fn unknown(why: &str) -> String {
    format!(
        "how often JetStream writes to the disk is not known{why}; start the server with `http_port`, and name it with \
         --nats-monitor unless it is {MONITOR_PORT}"
    )
}

/// What holds with these settings of JetStream. `domain` is the one that the nodes use.
fn promise(config: Option<&JetStreamConfig>, domain: Option<&str>) -> (State, String) {
    let kept = "what JetStream has acknowledged is kept over kill -9";
    if let Some(domain) = domain
        && config.and_then(|config| config.domain.as_deref()) != Some(domain)
    {
        let own = match config.and_then(|config| config.domain.as_deref()) {
            Some(own) => format!("has the domain {}", line(own, 128)),
            None => "has no domain".to_owned(),
        };
        return (
            State::Note,
            format!(
                "nodes use the JetStream of the domain {domain} (cluster.jetStreamDomain), and this server {own}; \
                 run fanfare doctor on a machine whose cluster.nats names a server of {domain} to learn what it keeps"
            ),
        );
    }
    match config {
        None => (
            State::Warning,
            "JetStream is off, so that nodes reload alone, schedules and subscriptions that need it do not run, and \
             channels with `\"keep\": \"cluster\"` accept no message; start nats-server with --jetstream"
                .to_owned(),
        ),
        Some(JetStreamConfig { sync_always: true, .. }) => (State::Ok, format!("{kept}, and over the loss of power")),
        Some(JetStreamConfig { sync_interval: None, .. }) => (
            State::Note,
            format!(
                "{kept}; this version does not tell how often it writes to the disk (by default every 2 minutes), so \
                 the loss of power may lose what it has not written; update it to 2.10 or later"
            ),
        ),
        Some(JetStreamConfig { sync_interval: Some(nanos), .. }) => (
            State::Ok,
            format!(
                "{kept}; the loss of power may lose the last {:?}, and nothing with `sync_interval: always` in its \
                 block `jetstream`",
                Duration::from_nanos(*nanos)
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_promise_follows_the_settings_of_the_server() {
        let of = |text: &str| {
            let varz: Varz = serde_json::from_str(text).unwrap();
            promise(varz.jetstream.config.as_ref(), None)
        };
        assert_eq!(of(r#"{"port":4222,"jetstream":{}}"#).0, State::Warning);
        let always = of(r#"{"port":4222,"jetstream":{"config":{"sync_interval":120000000000,"sync_always":true}}}"#);
        assert!(always.0 == State::Ok && always.1.ends_with("and over the loss of power"), "{}", always.1);
        let interval = of(r#"{"port":4222,"jetstream":{"config":{"sync_interval":120000000000}}}"#);
        assert!(interval.0 == State::Ok && interval.1.contains("may lose the last 120s"), "{}", interval.1);
        assert_eq!(of(r#"{"port":4222,"jetstream":{"config":{"max_memory":1}}}"#).0, State::Note);
    }

    #[test]
    fn a_server_of_another_domain_promises_nothing() {
        let of = |text: &str| {
            let varz: Varz = serde_json::from_str(text).unwrap();
            promise(varz.jetstream.config.as_ref(), Some("hub"))
        };
        let hub = of(r#"{"port":4222,"jetstream":{"config":{"domain":"hub","sync_always":true}}}"#);
        assert_eq!(hub.0, State::Ok, "{}", hub.1);
        let leaf = of(r#"{"port":4222,"jetstream":{"config":{"domain":"eu","sync_always":true}}}"#);
        assert!(leaf.0 == State::Note && leaf.1.contains("this server has the domain eu;"), "{}", leaf.1);
        let none = of(r#"{"port":4222,"jetstream":{}}"#);
        assert!(none.0 == State::Note && none.1.contains("this server has no domain;"), "{}", none.1);
    }
}
