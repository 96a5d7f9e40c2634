//! `fanfare events`: prints the host events, and follows them. `fanfare events serve` runs an event
//! service.

mod serve;

use std::io::{self, Write as _};
use std::num::NonZero;
use std::process::ExitCode;

use clap::builder::FalseyValueParser;
use http::Method;
use serde::Deserialize as _;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Iso8601;
use time::format_description::well_known::iso8601::{Config, EncodedConfig, TimePrecision};

use super::client::{self, AdminArgs, AdminClient, ClientError, Effect, Output, ServerEvent, printable};
use fanfare::api::EventRecord;

/// Flags of `fanfare events`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct EventsArgs {
    #[command(subcommand)]
    pub action: Option<EventsAction>,
    /// Keep printing events as they happen, until the host stops.
    #[arg(long, short, env = "FANFARE_FOLLOW", value_parser = FalseyValueParser::new())]
    pub follow: bool,
    /// Begin with this number of the newest events, 0 to 1024 [default: all that the host keeps].
    #[arg(long, value_name = "COUNT", env = "FANFARE_TAIL")]
    pub tail: Option<u32>,
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// What else `fanfare events` does.
#[derive(Debug, clap::Subcommand)]
pub enum EventsAction {
    /// Run an event service without modules, until a signal arrives.
    Serve(serve::ServeEventsArgs),
}

pub fn run(args: &EventsArgs) -> ExitCode {
    match &args.action {
        Some(EventsAction::Serve(args)) => serve::run(args),
        None => client::run(&args.admin, Effect::Uses, None, async |client| args.output(client).await),
    }
}

impl EventsArgs {
    async fn output(&self, client: &AdminClient) -> Result<Output, ClientError> {
        let tail = self.tail.map(|tail| format!("&tail={tail}")).unwrap_or_default();
        let path = format!("/v1/events?follow={}{tail}", self.follow);
        if self.follow {
            return self.follow(client, &path).await;
        }
        let response = client.send(Method::GET, &path, None).await?;
        let events: Vec<Value> = response.parse()?;
        let text = match client.json {
            true => response.text(),
            false => events.iter().map(listed_line).collect(),
        };
        Ok(Output::of(text))
    }

    /// Prints each event as it arrives: as a line, or with `--json` as a JSON object on a line.
    async fn follow(&self, client: &AdminClient, path: &str) -> Result<Output, ClientError> {
        client::follow(client, path, |event| {
            let text = match (client.json, serde_json::from_str(&event.data)) {
                (true, _) => event.data + "\n",
                (false, Ok(record)) => line(&record),
                (false, Err(_)) => other_line(&event),
            };
            let mut out = io::stdout().lock();
            // Fails when the reader has closed the pipe, which ends the command.
            out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
        })
        .await?;
        Ok(Output::default())
    }
}

/// Times have milliseconds.
const TIME: EncodedConfig =
    Config::DEFAULT.set_time_precision(TimePrecision::Second { decimal_digits: NonZero::new(3) }).encode();

/// The line of an event, also of one that this version of the program does not know.
fn listed_line(event: &Value) -> String {
    match EventRecord::deserialize(event) {
        Ok(record) => line(&record),
        Err(_) => {
            let name = event.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
            other_line(&ServerEvent { name, data: event.to_string(), id: None })
        }
    }
}

/// Number, time, name, and the other keys of an event.
fn line(record: &EventRecord) -> String {
    let EventRecord { number, time, event } = record;
    let fields = match serde_json::to_value(event) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let fields = fields.iter().filter(|(key, value)| *key != "type" && !value.is_null());
    let fields: Vec<String> = fields.map(|(key, value)| format!("{key}={}", shown(value))).collect();
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(*time) * 1_000_000).ok();
    let time = time.and_then(|time| time.format(&Iso8601::<TIME>).ok()).unwrap_or_default();
    format!("{number:>5}  {time}  {:<18}  {}\n", event.name(), fields.join(" "))
}

/// An event that this version of the program does not know, or `missed`.
fn other_line(event: &ServerEvent) -> String {
    format!("       {}  {}\n", printable(&event.name), printable(&event.data))
}

/// Text without quotes if it is one word, any other value as JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if !text.is_empty() && !text.contains([' ', '"', '=']) => printable(text),
        value => printable(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use fanfare::api::HostEvent;

    use super::*;

    #[test]
    fn an_unknown_event_is_a_line_too() {
        let event = serde_json::json!({ "number": 7, "type": "later", "text": "\u{1b}" });
        assert_eq!(listed_line(&event), "       later  {\"number\":7,\"type\":\"later\",\"text\":\"\\u001b\"}\n");
    }

    #[test]
    fn an_event_is_a_line() {
        let (module, from, reason) = ("flags".into(), None, "module.json:1:1: \u{1b}no".into());
        let event = HostEvent::SwapRejected { module, from, reason };
        let text = line(&EventRecord { number: 7, time: 1_795_670_570_970, event });
        let expected = "    7  2026-11-26T05:22:50.970Z  swapRejected        module=flags reason=";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.ends_with("\"module.json:1:1: \\u001bno\"\n"), "{text}");
    }
}
