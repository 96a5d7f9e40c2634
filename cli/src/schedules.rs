//! `fanfare schedules`: shows the schedules of a running host, and runs one.

use std::fmt::Write as _;
use std::process::ExitCode;

use http::Method;
use time::OffsetDateTime;
use time::format_description::well_known::Iso8601;
use time::format_description::well_known::iso8601::{Config, EncodedConfig, TimePrecision};

use super::call::reply_output;
use super::client::{self, AdminArgs, AdminClient, ClientError, Effect, Output, encoded, module, printable};
use super::entries;
use super::project::module_of;
use super::table::aligned;
use fanfare::api::{GatherEntry, LastRun, ScheduleState, ScheduleStatus};

/// Flags of `fanfare schedules`.
#[derive(Debug, clap::Args)]
pub struct SchedulesArgs {
    /// What to do [default: show all schedules].
    #[arg(value_enum, requires_all = ["module", "name"])]
    pub action: Option<Action>,
    /// The module: its name or its folder.
    pub module: Option<String>,
    /// The name of the schedule, as in the module's `schedules`.
    pub name: Option<String>,
    /// The payload: JSON, or `-` to read it from standard input [default: the schedule's data].
    #[arg(value_name = "JSON")]
    pub payload: Option<String>,
    /// The subdomain to run it for, which the operator's settings name.
    #[arg(long, requires = "action", env = "FANFARE_SUBDOMAIN")]
    pub subdomain: Option<String>,
    #[command(flatten)]
    pub admin: AdminArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Action {
    /// Run a schedule now, also a disabled one, and print the reply, or that it succeeded.
    Run,
}

pub fn run(args: &SchedulesArgs) -> ExitCode {
    client::run(&args.admin, Effect::Uses, args.module.as_deref(), async |client| args.output(client).await)
}

impl SchedulesArgs {
    async fn output(&self, client: &AdminClient) -> Result<Output, ClientError> {
        match (self.action, &self.module, &self.name) {
            (Some(Action::Run), Some(module), Some(name)) => self.run_one(client, module, name).await,
            _ => self.show(client).await,
        }
    }

    async fn run_one(&self, client: &AdminClient, named: &str, name: &str) -> Result<Output, ClientError> {
        let payload = client::payload(self.payload.as_deref())?;
        let mut path = format!("/v1/schedules/run?module={}&name={}", module(named), encoded(name));
        if let Some(subdomain) = &self.subdomain {
            // Writing to a string cannot fail.
            _ = write!(path, "&subdomain={}", encoded(subdomain));
        }
        let response = client.send(Method::POST, &path, payload).await?;
        // The host returns a list for a schedule that runs in every worker.
        let output = match response.text().trim_start().starts_with('[') {
            true => entries::output(&response.parse::<Vec<GatherEntry>>()?),
            false => reply_output(response.parse()?),
        };
        Ok(match output {
            output if client.json => Output { text: response.text(), ..output },
            Output { text, failure: None } if text.is_empty() => {
                let module = printable(&module_of(named).0);
                Output::of(format!("{module}:{} succeeded, without a payload\n", printable(name)))
            }
            output => output,
        })
    }

    async fn show(&self, client: &AdminClient) -> Result<Output, ClientError> {
        let response = client.send(Method::GET, "/v1/schedules", None).await?;
        let schedules: Vec<ScheduleStatus> = response.parse()?;
        Ok(Output::of(match schedules.as_slice() {
            _ if client.json => response.text(),
            [] => "no module has schedules\n".to_owned(),
            schedules => table(schedules),
        }))
    }
}

fn table(schedules: &[ScheduleStatus]) -> String {
    let head = ["MODULE", "SCHEDULE", "TYPE", "WHEN", "NEXT", "LAST", "OK", "FAILED", "SKIPPED", "MISSED", "MADE UP"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(schedules.iter().map(|schedule| {
        let subdomain = schedule.subdomain.as_deref().map(|name| format!(" ({})", printable(name)));
        let next = match (schedule.state, schedule.next) {
            (ScheduleState::Active, Some(next)) => at(next),
            (ScheduleState::Active, None) => "-".to_owned(),
            (ScheduleState::Done, _) => "done".to_owned(),
            _ => "disabled".to_owned(),
        };
        let last = match &schedule.last {
            None => "-".to_owned(),
            Some(LastRun { success: true, run_time, .. }) => format!("ok, {run_time} ms"),
            Some(LastRun { run_time, .. }) => format!("failed, {run_time} ms"),
        };
        [
            printable(&schedule.module),
            printable(&schedule.name) + &subdomain.unwrap_or_default(),
            printable(&schedule.kind),
            when(schedule),
            next,
            last,
            schedule.succeeded.to_string(),
            schedule.failed.to_string(),
            schedule.skipped.to_string(),
            schedule.missed.to_string(),
            if schedule.makes_up { schedule.made_up.to_string() } else { "-".to_owned() },
        ]
    }));
    let mut text = aligned(&rows) + &failures(schedules);
    for schedule in schedules {
        if let Some(reason) = &schedule.reason {
            _ = writeln!(text, "\n{} is disabled: {}", full_name(schedule), printable(reason));
        }
    }
    text
}

/// A paragraph for each schedule whose last run has failed.
pub(super) fn failures(schedules: &[ScheduleStatus]) -> String {
    let mut text = String::new();
    for schedule in schedules {
        if let Some(LastRun { worker, due, message: Some(message), .. }) = &schedule.last {
            let (name, due) = (full_name(schedule), at(*due));
            _ = writeln!(text, "\n{name} failed in worker-{worker}, in its run of {due}: {}", printable(message));
        }
    }
    text
}

/// `ticker:clean`, and the subdomain that it runs for.
fn full_name(schedule: &ScheduleStatus) -> String {
    let subdomain = schedule.subdomain.as_deref().map(|name| format!(" ({})", printable(name)));
    format!("{}:{}{}", printable(&schedule.module), printable(&schedule.name), subdomain.unwrap_or_default())
}

/// The interval, the cron expression with its zone, and `once`.
fn when(schedule: &ScheduleStatus) -> String {
    let interval = schedule.interval.map(|interval| format!("every {}", duration(interval)));
    let zone = schedule.tz.as_deref().unwrap_or("UTC");
    let cron = schedule.cron.as_deref().map(|cron| format!("{} {}", printable(cron), printable(zone)));
    let once = (schedule.immediate && interval.is_none() && cron.is_none()).then(|| "once".to_owned());
    let all: Vec<String> = interval.into_iter().chain(cron).chain(once).collect();
    all.join(", ")
}

/// Writes a number of milliseconds in the largest unit that divides it.
fn duration(ms: u64) -> String {
    let units = [("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    let fitting = units.iter().find(|(_, factor)| ms.is_multiple_of(*factor));
    fitting.map_or_else(|| format!("{ms}ms"), |(unit, factor)| format!("{}{unit}", ms / factor))
}

/// Times of the table have seconds.
const TIME: EncodedConfig = Config::DEFAULT.set_time_precision(TimePrecision::Second { decimal_digits: None }).encode();

/// A time as text: in UTC, with seconds.
pub(super) fn at(ms: u64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).ok();
    time.and_then(|time| time.format(&Iso8601::<TIME>).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::fake;

    async fn output(body: &str, args: &[&str], status: u16) -> (Result<Output, ClientError>, fake::RecordedRequest) {
        let (client, mut requests) = fake::admin(status, body).await;
        let mut args = args.iter().map(|arg| (*arg).to_owned());
        let action = args.next().map(|_| Action::Run);
        let (module, name, payload) = (args.next(), args.next(), args.next());
        let admin = AdminArgs::default();
        let args = SchedulesArgs { action, module, name, payload, subdomain: args.next(), admin };
        (args.output(&client).await, requests.recv().await.unwrap())
    }

    #[tokio::test]
    async fn every_schedule_has_a_row() {
        let schedules = r#"[
            {"module":"ticker","name":"tick","type":"worker","interval":5000,"immediate":true,"overlap":"skip",
             "state":"active","next":1795670570000,"running":0,"succeeded":7,"failed":0,"skipped":1,"missed":2,"makesUp":true,"madeUp":1,
             "last":{"id":"a","worker":0,"due":1795670565000,"success":true,"runTime":3}},
            {"module":"ticker","name":"clean","subdomain":"acme","type":"all","cron":"0 3 * * *","tz":"Europe/Berlin",
             "overlap":"skip","state":"disabled","reason":"`disable` is true",
             "last":{"id":"b","worker":1,"due":1,"success":false,"runTime":90,"message":"no \u001broom"}},
            {"module":"ticker","name":"warm","type":"all","immediate":true,"overlap":"allow","state":"done"}]"#;
        let (output, request) = output(schedules, &[], 200).await;
        let expected = "\
MODULE  SCHEDULE      TYPE    WHEN                     NEXT                  LAST           OK  FAILED  SKIPPED  MISSED  MADE UP
ticker  tick          worker  every 5s                 2026-11-26T05:22:50Z  ok, 3 ms       7   0       1        2       1
ticker  clean (acme)  all     0 3 * * * Europe/Berlin  disabled              failed, 90 ms  0   0       0        0       -
ticker  warm          all     once                     done                  -              0   0       0        0       -

ticker:clean (acme) failed in worker-1, in its run of 1970-01-01T00:00:00Z: no \\u{1b}room

ticker:clean (acme) is disabled: `disable` is true
";
        assert_eq!(output.unwrap().text, expected);
        assert_eq!(request, ("GET".into(), "/v1/schedules".into(), String::new()));
    }

    #[tokio::test]
    async fn a_run_prints_the_reply() {
        let reply = r#"{"status":200,"headers":[],"payload":"done"}"#;
        let (printed, request) = output(reply, &["run", "ticker", "a/b", "{\"n\":1}", "acme"], 200).await;
        assert_eq!(printed.unwrap(), Output::of("done"));
        let path = "/v1/schedules/run?module=ticker&name=a%2Fb&subdomain=acme";
        assert_eq!(request, ("POST".into(), path.into(), "{\"n\":1}".into()));
        let (printed, _) = output(r#"{"status":500,"headers":[],"payload":null}"#, &["run", "m", "n"], 200).await;
        assert_eq!(printed.unwrap().failure.as_deref(), Some("the handler replied with status 500"));
        let (printed, _) = output(r#"{"status":204,"headers":[],"payload":null}"#, &["run", "m", "n"], 200).await;
        assert_eq!(printed.unwrap(), Output::of("m:n succeeded, without a payload\n"));
    }

    #[tokio::test]
    async fn a_run_in_every_worker_prints_a_line_each() {
        let entries = r#"[{"isolate":"worker-0","reply":{"status":204,"payload":null}},
            {"isolate":"worker-1","error":{"status":500,"code":"crashed","detail":"trapped"}}]"#;
        let (printed, _) = output(entries, &["run", "m", "n"], 200).await;
        let printed = printed.unwrap();
        assert_eq!(printed.text, "worker-0  204\nworker-1  crashed (500): trapped\n");
        assert_eq!(printed.failure.as_deref(), Some("1 of 2 workers failed"));
    }

    #[tokio::test]
    async fn a_run_that_fails_is_an_error() {
        let problem =
            r#"{"type":"x","title":"Not Found","status":404,"code":"not-found","detail":"m has no schedule `n`"}"#;
        let error = output(problem, &["run", "m", "n"], 404).await.0.unwrap_err();
        assert_eq!(error.to_string(), "not-found (404): m has no schedule `n`");
    }
}
