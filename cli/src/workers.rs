//! `fanfare workers` and `fanfare brokers`: show the load of isolates, and kill them.

use std::process::ExitCode;

use clap::builder::FalseyValueParser;
use http::Method;

use super::client::{self, AdminArgs, AdminClient, ClientError, Effect, Output, printable};
use super::table::aligned;
use fanfare::api::{IsolateLoad, KillRequest, KilledIsolate, State, Status};

/// Flags of `fanfare workers` and `fanfare brokers`.
#[derive(Debug, clap::Args)]
pub struct IsolatesArgs {
    /// What to do [default: show the load of each].
    #[arg(value_enum)]
    pub action: Option<Action>,
    /// The number of the only one to kill, from 0 [default: all, one after another].
    #[arg(requires = "action")]
    pub id: Option<u32>,
    /// End running calls with the error `crashed` at once, instead of after
    /// `master.processTermTimeout`.
    #[arg(long, requires = "action", env = "FANFARE_IMMEDIATE", value_parser = FalseyValueParser::new())]
    pub immediate: bool,
    #[command(flatten)]
    pub admin: AdminArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Action {
    /// Give every module a new instance without the state of the old one. No request fails, except
    /// running calls that do not end in time.
    Kill,
}

/// The isolates that a command is about.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Workers,
    Brokers,
}

impl Kind {
    fn plural(self) -> &'static str {
        match self {
            Kind::Workers => "workers",
            Kind::Brokers => "brokers",
        }
    }

    fn contains(self, isolate: &str) -> bool {
        isolate.starts_with(match self {
            Kind::Workers => "worker-",
            Kind::Brokers => "broker-",
        })
    }
}

pub fn run(args: &IsolatesArgs, kind: Kind) -> ExitCode {
    let effect = if args.action.is_some() { Effect::Changes } else { Effect::Uses };
    client::run(&args.admin, effect, None, async |client| args.output(client, kind).await)
}

impl IsolatesArgs {
    async fn output(&self, client: &AdminClient, kind: Kind) -> Result<Output, ClientError> {
        match self.action {
            Some(Action::Kill) => self.kill(client, kind).await,
            None => self.show(client, kind).await,
        }
    }

    async fn kill(&self, client: &AdminClient, kind: Kind) -> Result<Output, ClientError> {
        let request = KillRequest { id: self.id, immediate: self.immediate };
        // Serialising cannot fail: the request has a number and a boolean.
        let body = serde_json::to_string(&request).unwrap_or_default();
        let path = format!("/v1/{}/kill", kind.plural());
        let response = client.send_swap(&path, Some(body)).await?;
        let killed: Vec<KilledIsolate> = response.parse()?;
        let text = match killed.as_slice() {
            _ if client.json => response.text(),
            [] => format!("the host has no {}\n", kind.plural()),
            killed => killed.iter().map(line_of).collect(),
        };
        Ok(Output::of(text))
    }

    async fn show(&self, client: &AdminClient, kind: Kind) -> Result<Output, ClientError> {
        let response = client.send(Method::GET, "/v1/status", None).await?;
        let status: Status = response.parse()?;
        let of_kind = status.isolates.iter().filter(|load| kind.contains(&load.isolate));
        let loads: Vec<&IsolateLoad> = of_kind.collect();
        Ok(Output::of(match loads.as_slice() {
            _ if client.json => response.text(),
            [] => format!("the host has no {}\n", kind.plural()),
            loads => table(loads, &status),
        }))
    }
}

fn line_of(killed: &KilledIsolate) -> String {
    let crashed: usize = killed.modules.iter().map(|module| module.crashed).sum();
    let crashed = match crashed {
        0 => String::new(),
        1 => "; 1 running call crashed".to_owned(),
        count => format!("; {count} running calls crashed"),
    };
    let instances = match killed.modules.len() {
        1 => "1 new instance".to_owned(),
        count => format!("{count} new instances"),
    };
    format!("{}: killed, {instances}{crashed}\n", printable(&killed.isolate))
}

fn table(loads: &[&IsolateLoad], status: &Status) -> String {
    let mut rows = vec![["ISOLATE", "CLIENTS", "REQUESTS/MIN", "MEMORY", "MODULES"].map(str::to_owned)];
    rows.extend(loads.iter().map(|load| {
        let here =
            status.modules.iter().flat_map(|module| &module.isolates).filter(|slot| slot.isolate == load.isolate);
        let (all, ready) =
            here.fold((0, 0), |(all, ready), slot| (all + 1, ready + usize::from(slot.state == State::Ready)));
        let modules = match status.blocked.contains(&load.isolate) {
            true => "blocked".to_owned(),
            false => format!("{ready} of {all} ready"),
        };
        [
            printable(&load.isolate),
            load.clients.to_string(),
            load.requests_per_minute.to_string(),
            memory(load.memory),
            modules,
        ]
    }));
    aligned(&rows)
}

/// `64 KiB`, `1.5 MiB`.
fn memory(bytes: u64) -> String {
    let kib = bytes >> 10;
    if kib < 1_024 { format!("{kib} KiB") } else { format!("{:.1} MiB", kib as f64 / 1_024.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::fake;

    const STATUS: &str = r#"{"node":"n","environment":"e","blocked":["worker-1"],"isolates":[
        {"isolate":"worker-0","clients":3,"requestsPerMinute":1200,"memory":1572864},
        {"isolate":"worker-1","clients":0,"requestsPerMinute":0,"memory":65536},
        {"isolate":"broker-0","memory":0}],
        "modules":[
        {"name":"a","state":"ready","isolates":[{"isolate":"worker-0","state":"ready"},{"isolate":"worker-1","state":"ready"}]},
        {"name":"b","state":"failed","isolates":[{"isolate":"worker-0","state":"failed"}]}]}"#;

    async fn output(kind: Kind, args: (Option<Action>, Option<u32>, bool), answer: (u16, &str)) -> (Output, String) {
        let (client, mut requests) = fake::admin(answer.0, answer.1).await;
        let (action, id, immediate) = args;
        let args = IsolatesArgs { action, id, immediate, admin: AdminArgs::default() };
        let output = args.output(&client, kind).await.unwrap();
        let (method, path, body) = requests.recv().await.unwrap();
        (output, format!("{method} {path} {body}"))
    }

    #[tokio::test]
    async fn without_an_action_the_load_of_each_is_a_row() {
        let (shown, request) = output(Kind::Workers, (None, None, false), (200, STATUS)).await;
        let expected = "\
ISOLATE   CLIENTS  REQUESTS/MIN  MEMORY   MODULES
worker-0  3        1200          1.5 MiB  1 of 2 ready
worker-1  0        0             64 KiB   blocked
";
        assert_eq!((shown.text.as_str(), request.trim()), (expected, "GET /v1/status"));
        let (shown, _) = output(Kind::Brokers, (None, None, false), (200, STATUS)).await;
        assert!(shown.text.ends_with("\nbroker-0  0        0             0 KiB   0 of 0 ready\n"), "{}", shown.text);
        let (none, _) =
            output(Kind::Brokers, (None, None, false), (200, r#"{"node":"n","environment":"e","modules":[]}"#)).await;
        assert_eq!(none.text, "the host has no brokers\n");
    }

    #[tokio::test]
    async fn a_kill_prints_each_isolate_and_its_crashed_calls() {
        let killed = r#"[{"isolate":"worker-0","modules":[{"module":"a","generation":"1","crashed":2},{"module":"b","generation":"2"}]},
            {"isolate":"worker-1","modules":[{"module":"a","generation":"1","crashed":1}]}]"#;
        let (shown, request) = output(Kind::Workers, (Some(Action::Kill), None, false), (200, killed)).await;
        let expected = "worker-0: killed, 2 new instances; 2 running calls crashed\nworker-1: killed, 1 new instance; 1 running call crashed\n";
        assert_eq!((shown.text.as_str(), request.as_str()), (expected, r#"POST /v1/workers/kill {"immediate":false}"#));
        let (_, request) = output(Kind::Brokers, (Some(Action::Kill), Some(1), true), (200, "[]")).await;
        assert_eq!(request, r#"POST /v1/brokers/kill {"id":1,"immediate":true}"#);
    }
}
