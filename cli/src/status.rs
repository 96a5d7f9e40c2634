//! `fanfare status`: shows the modules of a running host and their state.

mod clients;
mod reasons;

use std::fmt::Write as _;
use std::process::ExitCode;

use http::Method;

use super::client::{self, AdminArgs, AdminClient, ClientError, Effect, Output, printable};
use super::table::aligned;
use super::{schedules, subscriptions};
use clients::{channel_tables, channels, clients, sockets};
use fanfare::api::{Connections, EventsStatus, IsolateStatus, ModuleStatus, Status, Usage};
use reasons::reasons;

/// The number of characters shown of a generation's digest.
const DIGEST_CHARS: usize = 12;

/// Flags of `fanfare status`.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    #[command(flatten)]
    pub admin: AdminArgs,
}

pub fn run(args: &StatusArgs) -> ExitCode {
    client::run(&args.admin, Effect::Uses, None, async |client| args.output(client).await)
}

impl StatusArgs {
    async fn output(&self, client: &AdminClient) -> Result<Output, ClientError> {
        let response = client.send(Method::GET, "/v1/status", None).await?;
        let status: Status = response.parse()?;
        Ok(Output::of(if client.json { response.text() } else { readable(&status) }))
    }
}

fn readable(status: &Status) -> String {
    let mut text = format!("{} ({})\n", printable(&status.node), printable(&status.environment));
    let Connections { open, max, configured } = status.connections;
    if max > 0 {
        _ = write!(text, "{open} of {max} connections");
        if max < configured {
            _ = write!(text, "; `ulimit -n` is too low for http.maxConnections, {configured}");
        }
        text.push('\n');
    }
    text.push('\n');
    for note in &status.notes {
        // Writing to a string cannot fail.
        _ = writeln!(text, "{}\n", note.lines().map(printable).collect::<Vec<_>>().join("\n  "));
    }
    for redis in &status.redis {
        let (name, url) = (printable(&redis.name), printable(&redis.url));
        _ = writeln!(text, "redis {name} ({url}): {}", redis.state.as_str());
        redis.reasons.iter().for_each(|reason| _ = writeln!(text, "  {}", printable(reason)));
    }
    events(&status.events, &mut text);
    let has_clients = clients(status, &mut text);
    let has_channels = channels(status, &mut text);
    if has_clients || has_channels || !status.redis.is_empty() || status.events != EventsStatus::default() {
        text.push('\n');
    }
    if status.modules.is_empty() {
        text.push_str("no modules\n");
        return text;
    }
    let head = ["MODULE", "STATE", "GENERATION", "ISOLATE", "INSTANCE", "RESTARTS", "IN FLIGHT", "WAITING"];
    let mut rows = vec![head.map(str::to_owned)];
    for module in &status.modules {
        rows.extend(rows_of(module, &status.blocked));
    }
    text.push_str(&aligned(&rows));
    for isolate in &status.blocked {
        let isolate = printable(isolate);
        // Writing to a string cannot fail.
        _ = writeln!(
            text,
            "\n{isolate} is blocked: code of the host occupies its thread, so its connections and modules wait"
        );
    }
    for module in &status.modules {
        reasons(module, &mut text);
    }
    text.push_str(&schedules::failures(&status.schedules));
    if !status.subscriptions.is_empty() {
        _ = write!(text, "\n{}", subscriptions::table(&status.subscriptions));
    }
    sockets(status, &mut text);
    channel_tables(status, &mut text);
    let (bytes, mappings) = (&status.address_space, &status.mappings);
    if is_scarce(bytes) || is_scarce(mappings) {
        let (left, limit) = (bytes.left() >> 30, bytes.limit >> 30);
        _ = writeln!(
            text,
            "\nfree for memories of instances: {left} of {limit} GiB of address space, {} of {} mappings",
            mappings.left(),
            mappings.limit
        );
    }
    text
}

/// Whether so little of a resource is left that the operator should know.
fn is_scarce(usage: &Usage) -> bool {
    usage.left() < usage.limit / 4
}

/// The event service, and the connection to that of another process.
fn events(events: &EventsStatus, text: &mut String) {
    if let Some(listen) = &events.listen {
        let address = printable(&listen.address);
        _ = writeln!(
            text,
            "events: {address} listens, {} connections, {} subscribers",
            listen.connections, listen.subscribers
        );
    }
    if let Some(connect) = &events.connect {
        let state = if connect.up { "connected" } else { "away" };
        let (service, queued) = (printable(&connect.service), connect.queued);
        _ = writeln!(text, "events of {service}: {state}, {queued} events wait, {} lost", connect.lost);
        connect.reason.iter().for_each(|reason| _ = writeln!(text, "  {}", printable(reason)));
    }
}

/// One row per isolate. The first row also shows the state of the whole module.
fn rows_of(module: &ModuleStatus, blocked: &[String]) -> Vec<[String; 8]> {
    let digest = module.generation.as_deref().unwrap_or("-").chars().take(DIGEST_CHARS).collect::<String>();
    let mut own = [printable(&module.name), module.state.to_string(), printable(&digest)];
    if module.isolates.is_empty() {
        let [name, state, digest] = own;
        return vec![[name, state, digest, "-".into(), String::new(), String::new(), String::new(), String::new()]];
    }
    let row = |isolate: &IsolateStatus| {
        let [name, state, mut shown] = std::mem::take(&mut own);
        // During a canary, this isolate runs another generation than the module.
        if let Some(other) = isolate.generation.as_deref().filter(|own| !digest.starts_with(own)) {
            shown = printable(other);
        }
        let is_blocked = blocked.contains(&isolate.isolate);
        [
            name,
            state,
            shown,
            printable(&isolate.isolate),
            if is_blocked { "blocked".to_owned() } else { isolate.state.to_string() },
            ends(isolate),
            with_more(isolate.in_flight, ",", isolate.leaked, "leaked"),
            with_more(isolate.waiting, " +", isolate.waiting_broadcasts, "broadcasts"),
        ]
    };
    module.isolates.iter().map(row).collect()
}

/// `3`, `3, 2 crashed`, `3, 1 replaced` or `3, 2 crashed, 1 replaced`.
fn ends(isolate: &IsolateStatus) -> String {
    let ends = with_more(isolate.restarts, ",", isolate.crashes, "crashed");
    if isolate.replaced == 0 { ends } else { format!("{ends}, {} replaced", isolate.replaced) }
}

/// `3`, or `3, 2 leaked` if the second count is not zero.
fn with_more(count: u64, joint: &str, more: u64, what: &str) -> String {
    if more == 0 { count.to_string() } else { format!("{count}{joint} {more} {what}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::fake;

    const STATUS: &str = r#"{"node":"node-1","environment":"development","later":1,
        "addressSpace":{"used":70364382101504,"limit":70368744177664},"mappings":{"used":4,"limit":32765},
        "connections":{"open":7,"max":800,"configured":10000},"blocked":["worker-2"],"notes":["fanfare.json: gone\u001b\nsince then"],
        "redis":[{"name":"default","url":"redis://h:1","state":"down","reasons":["commands: refused"]}],
        "events":{"listen":{"address":"127.0.0.1:14440","connections":3,"subscribers":2},
                  "connect":{"service":"h\u001b:14440","up":false,"reason":"refused\u001b","queued":1,"lost":4}},
        "schedules":[{"module":"flags","name":"tick"},
            {"module":"flags","name":"clean","succeeded":7,"failed":2,"last":{"worker":1,"due":1764144000000,"success":false,
             "runTime":3,"message":"no room\u001b"}}],
        "subscriptions":[{"module":"flags","name":"s","source":"event","topic":"a/*","deliver":"one",
                          "overflow":"wait","waiting":3,"delivered":7}],
        "clients":{"open":3,"max":800,"bound":2,"groups":1,
                   "listeners":[{"path":"/socketcluster/","protocol":2,"module":"flags"}]},
        "channels":{"open":12,"max":100000,"subscriptions":34,"waiting":2,
                    "largest":[{"name":"flags/1\u001b","members":30,"kept":100},{"name":"b","members":4}]},"modules":[
        {"name":"flags","generation":"0123456789abcdef0123","state":"ready","note":"a canary is running",
         "sockets":[{"pattern":"room/{room}","route":"POST say","protocols":["v2","v1\u001b"]},
                    {"pattern":"","route":"POST say"}],
         "channels":[{"pattern":"flags"},{"pattern":"flags/*","route":"POST room","on":["publish","join"],
                      "history":{"count":100,"age":300000,"bytes":1024},"presence":true}],
         "filters":{"before":["POST check","POST who"]},"isolates":[
            {"isolate":"worker-0","state":"ready","restarts":0,"crashes":4,"replaced":5,"inFlight":3,"waiting":0},
            {"isolate":"worker-1","state":"failed","reason":"11 restarts within 1m\nwasm trap: unreachable\u001b[2J",
             "endedAt":1764144000000,"restarts":11,"inFlight":0,"waiting":0,"leaked":0,"waitingBroadcasts":0},
            {"isolate":"worker-2","state":"ready","generation":"fedcba987654","inFlight":3,"leaked":2,"waiting":4,"waitingBroadcasts":1024}]},
        {"name":"new","generation":null,"state":"waiting","reason":"new.wasm is not there yet"}]}"#;

    async fn output(status: u16, body: &str, json: bool) -> Result<Output, ClientError> {
        let (mut client, mut requests) = fake::admin(status, body).await;
        client.json = json;
        let output = StatusArgs { admin: AdminArgs::default() }.output(&client).await;
        assert_eq!(requests.recv().await.unwrap(), ("GET".into(), "/v1/status".into(), String::new()));
        output
    }

    #[tokio::test]
    async fn the_status_is_a_table_and_the_reasons() {
        let expected = "\
node-1 (development)
7 of 800 connections; `ulimit -n` is too low for http.maxConnections, 10000

fanfare.json: gone\\u{1b}
  since then

redis default (redis://h:1): down
  commands: refused
events: 127.0.0.1:14440 listens, 3 connections, 2 subscribers
events of h\\u{1b}:14440: away, 1 events wait, 4 lost
  refused\\u{1b}
clients: 3 of 800 WebSockets, 2 bound to users, 1 groups
channels: 12 of 100000, 34 subscriptions of clients, 2 messages wait

MODULE  STATE    GENERATION    ISOLATE   INSTANCE  RESTARTS                  IN FLIGHT    WAITING
flags   ready    0123456789ab  worker-0  ready     0, 4 crashed, 5 replaced  3            0
                               worker-1  failed    11                        0            0
                 fedcba987654  worker-2  blocked   0                         3, 2 leaked  4 + 1024 broadcasts
new     waiting  -             -

worker-2 is blocked: code of the host occupies its thread, so its connections and modules wait

flags:
  a canary is running

flags on worker-1:
  2025-11-26T08:00:00Z: 11 restarts within 1m
  wasm trap: unreachable\\u{1b}[2J

new:
  new.wasm is not there yet

flags:clean failed in worker-1, in its run of 2025-11-26T08:00:00Z: no room\\u{1b}

MODULE  SUBSCRIPTION  SOURCE     DELIVER  OVERFLOW  WAITING  OK  FAILED  DROPPED  GAPS
flags   s             event a/*  one      wait      3        7   0       0        0

MODULE  SOCKET                  ROUTE     PROTOCOLS
flags   /socketcluster/         -         socketcluster/2
flags   /api/flags/room/{room}  POST say  v2, v1\\u{1b}
flags   /api/flags/             POST say  -

MODULE  FILTERS BEFORE        FILTERS AFTER
flags   POST check, POST who  -

MODULE  CHANNELS  ROUTE      ASKED ABOUT    HISTORY  PRESENCE
flags   flags     -          -              -        -
flags   flags/*   POST room  publish, join  100      yes

CHANNEL        MEMBERS HERE  KEPT HERE
flags/1\\u{1b}  30            100
b              4             0

free for memories of instances: 4 of 65536 GiB of address space, 32761 of 32765 mappings
";
        assert_eq!(output(200, STATUS, false).await.unwrap().text, expected);
    }

    #[tokio::test]
    async fn a_module_that_waits_to_restart_says_for_how_long() {
        let body = r#"{"node":"n","environment":"e","modules":[{"name":"flags","state":"restarting","isolates":[
            {"isolate":"worker-0","state":"restarting","restartsIn":2400,"reason":"it trapped\nframe"},
            {"isolate":"worker-1","state":"restarting","restartsIn":0,"reason":"it trapped"},
            {"isolate":"worker-2","state":"ready","reason":"it trapped"}]}]}"#;
        let text = output(200, body, false).await.unwrap().text;
        for line in [
            "flags on worker-0, which starts again in 2.4s, after:\n  it trapped\n  frame\n",
            "flags on worker-1, which starts again now, after:\n",
            "flags on worker-2 is ready; its last crash was:\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[tokio::test]
    async fn workers_with_the_same_reason_share_it_with_one_frame_of_the_backtrace() {
        let crash = r"it trapped\n    at abort\n    at flags::warm (src/lib.rs:3)\n    at flags::outer";
        let isolate = |index: u32, state: &str, more: &str| {
            format!(r#"{{"isolate":"worker-{index}","state":"{state}","reason":"{crash}"{more}}}"#)
        };
        let text = async |isolates: [String; 3]| {
            let isolates = isolates.join(",");
            let modules = format!(r#"{{"name":"flags","state":"ready","isolates":[{isolates}]}}"#);
            let body = format!(r#"{{"node":"n","environment":"e","modules":[{modules}]}}"#);
            let text = output(200, &body, false).await.unwrap().text;
            text.split_once("\n\nflags").map(|(_, reasons)| reasons.to_owned()).unwrap()
        };
        let ended = |at: u64| format!(r#","endedAt":{}"#, 1_764_144_000_000 + at);
        assert_eq!(
            text([isolate(0, "failed", &ended(0)), isolate(1, "ready", ""), isolate(2, "failed", &ended(1_000))]).await,
            " on worker-0 and worker-2:\n  last at 2025-11-26T08:00:01Z: it trapped\n      at flags::warm (src/lib.rs:3)\n\
             \nflags on worker-1 is ready; its last crash was:\n  it trapped\n      at flags::warm (src/lib.rs:3)\n"
        );
        let [first, later] = [ended(0), ended(1)];
        assert!(
            text([isolate(0, "ready", &first), isolate(1, "ready", &first), isolate(2, "ready", &later)]).await.starts_with(
                " on worker-0, worker-1 and worker-2 are ready; their last crash was:\n  2025-11-26T08:00:00Z: it trapped\n"
            )
        );
        let waits = |wait: u64| format!(r#","restartsIn":{wait}"#);
        let restarting =
            [isolate(0, "restarting", &waits(0)), isolate(1, "restarting", &waits(2_400)), isolate(2, "ready", "")];
        assert!(text(restarting).await.starts_with(
            " on worker-0, which starts again now, and worker-1, which starts again in 2.4s, after:\n  it trapped\n"
        ));
    }

    #[tokio::test]
    async fn a_module_whose_first_build_failed_has_one_reason() {
        let module = r#"{"name":"new","generation":null,"state":"waiting","reason":"new.wasm is not there yet"#;
        let body = |note: &str| format!(r#"{{"node":"n","environment":"e","modules":[{module}"{note}}}]}}"#);
        let text = output(200, &body(r#","note":"the last build failed""#), false).await.unwrap().text;
        assert!(text.ends_with("\n\nnew:\n  the last build failed\n") && !text.contains("not there"), "{text}");
        let text = output(200, &body(""), false).await.unwrap().text;
        assert!(text.ends_with("\n\nnew:\n  new.wasm is not there yet\n"), "{text}");
    }

    #[tokio::test]
    async fn a_rejected_module_shows_one_frame_of_a_backtrace() {
        let reason = r"it trapped\n    at abort\n    at flags::warm\n    at flags::outer";
        let module = format!(r#"{{"name":"flags","generation":null,"state":"refused","reason":"{reason}"}}"#);
        let body = format!(r#"{{"node":"n","environment":"e","modules":[{module}]}}"#);
        let text = output(200, &body, false).await.unwrap().text;
        assert!(text.ends_with("\n\nflags:\n  it trapped\n      at flags::warm\n"), "{text}");
    }

    #[tokio::test]
    async fn json_is_printed_as_received() {
        assert_eq!(output(200, STATUS, true).await.unwrap(), Output::of(STATUS));
    }

    #[tokio::test]
    async fn a_host_without_modules_says_so() {
        let text = output(200, r#"{"node":"n","environment":"e","modules":[]}"#, false).await.unwrap().text;
        assert_eq!(text, "n (e)\n\nno modules\n");
    }

    #[tokio::test]
    async fn an_unexpected_document_is_an_error() {
        assert!(matches!(output(200, "{}", false).await, Err(ClientError::Strange { .. })));
    }
}
