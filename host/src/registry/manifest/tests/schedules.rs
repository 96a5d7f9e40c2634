use super::*;
use crate::call::Payload;
use crate::config::{Config, Limits, Overlap};
use crate::registry::manifest::schedules::{Off, Schedule, ScheduleKind};
use crate::registry::manifest::{effective_schedules, unknown_schedules};

/// A manifest with the routes `POST tick` and `GET test` (with the middleware `test`), and these
/// schedules.
fn scheduled(schedules: &str) -> String {
    let routes = r#"[{ "path": "tick", "handler": "h" }, { "path": "test", "handler": "h", "middlewares": "test" }]"#;
    with(&format!("\"routes\": {routes}, \"schedules\": {schedules}"))
}

fn one(settings: &str) -> String {
    scheduled(&format!("{{ \"s\": {{ \"path\": \"tick\", {settings} }} }}"))
}

/// The only fault, with its position.
fn fault_of(text: &str) -> String {
    let list = faults(text);
    assert_eq!(list.len(), 1, "{text}: {list:?}");
    list[0].clone()
}

fn effective(text: &str, operator: &str) -> Result<Vec<Schedule>, String> {
    let config = format!("{{ \"modules\": {{ \"test-party\": {operator} }} }}");
    let config = Config::from_text(&config, Path::new("/")).unwrap();
    effective_schedules(&load(text).unwrap(), &config, &Limits::default()).map_err(|faults| faults.to_string())
}

#[test]
fn a_schedule_has_either_a_route_or_a_command() {
    let text = with(r#""schedules": { "s": { "interval": "1h", "command": ["a", ""] } }"#);
    let schedules = load(&text).unwrap().schedules;
    assert_eq!(schedules["s"].command().unwrap().as_ref(), ["a", ""]);
    for (keys, found) in [(r#""path": "tick", "command": [],"#, "both"), ("", "neither")] {
        let fault = fault_of(&scheduled(&format!("{{ \"s\": {{ {keys} \"interval\": \"1h\" }} }}")));
        let rule = format!("schedules.s: must have either `path`, for a route, or `command`, found {found}");
        assert!(fault.contains(&rule), "{fault}");
    }
    let many = vec!["\"x\""; 65].join(", ");
    let fault = fault_of(&with(&format!(r#""schedules": {{ "s": {{ "interval": "1h", "command": [{many}] }} }}"#)));
    assert!(fault.contains("schedules.s.command") && fault.contains("at most 64"), "{fault}");
}

#[test]
fn every_setting_of_a_schedule_is_read() {
    let text = scheduled(
        r#"{
          "a": { "path": "tick", "interval": "5s", "type": "all", "immediate": true, "env": "test", "overlap": "allow", "data": { "x": [1] } },
          "b": { "path": "POST tick", "cron": "0 3 * * MON", "tz": "Europe/Berlin", "endDate": "2026-12-31T23:59:59", "disable": true, "env": ["production", "development"] },
          "c": { "path": "tick", "interval": 10 },
        }"#,
    );
    let schedules = effective(&text, "{}").unwrap();
    let [a, b, c] = schedules.as_slice() else { panic!("{schedules:?}") };
    assert_eq!((a.kind, a.immediate, a.overlap), (ScheduleKind::All, true, Overlap::Allow));
    assert_eq!((a.off, &a.data), (Some(Off::Environment), &Payload::Text(r#"{"x":[1]}"#.into())));
    assert_eq!(a.timing.interval(), Some(5_000));
    assert_eq!((b.kind, b.off, &b.data), (ScheduleKind::Worker, Some(Off::Disabled), &Payload::None));
    assert_eq!((b.timing.cron(), b.timing.zone()), (Some("0 3 * * MON"), "Europe/Berlin"));
    assert_eq!(b.timing.end(), Some(1_798_757_999_000), "a time in Berlin");
    assert_eq!((c.off, c.overlap, c.timing.interval()), (None, Overlap::Skip, Some(10)));
    assert_eq!(load(&text).unwrap().schedules["b"].route(), Some(0));
}

#[test]
fn a_schedule_that_makes_up_for_missed_runs_has_attempts_and_a_backoff() {
    let durable = |settings: &str| {
        let manifest = load(&one(settings)).unwrap();
        super::super::schedules::durable(&manifest.schedules["s"].settings)
    };
    assert_eq!(durable("\"interval\": 10"), None);
    assert_eq!(durable("\"interval\": 10, \"missed\": \"skip\""), None);
    let default = durable("\"interval\": 10, \"missed\": \"run-once\"").unwrap();
    assert_eq!((default.attempts, default.backoff.as_millis()), (5, 1_000));
    let own = durable("\"interval\": 10, \"missed\": \"run-once\", \"attempts\": 3, \"backoff\": \"10ms\"").unwrap();
    let pauses: Vec<_> = (1..=3).map(|failures| own.pause(failures).map(|pause| pause.as_millis())).collect();
    assert_eq!(pauses, [Some(10), Some(20), None]);
    let long = crate::registry::Durable { attempts: 100, backoff: std::time::Duration::from_secs(1) };
    assert_eq!(long.pause(99).unwrap().as_secs(), 60);
}

#[test]
fn wrong_settings_are_rejected_with_the_reason_and_the_place() {
    for (settings, expected) in [
        ("\"interval\": 9", "schedules.s.interval: must be at least 10ms, found 9"),
        ("\"interval\": \"5\"", "schedules.s.interval: must be a duration such as"),
        ("\"interval\": \"9000h\"", "schedules.s.interval: must be "),
        ("\"interval\": -1", "schedules.s.interval: must be "),
        ("\"cron\": 5", "schedules.s.cron: must be a cron expression"),
        (
            "\"cron\": \"0 25 * * *\"",
            "schedules.s.cron: must be a cron expression: `25` at character 3 is no valid hour (0 to 23), found \"0 25 * * *\"",
        ),
        ("\"cron\": \"0 0 30 2 *\"", "schedules.s.cron: must match a date that exists"),
        ("\"cron\": \"@reboot\"", "is no known name"),
        ("\"interval\": 10, \"tz\": \"Mars\"", "schedules.s.tz: must be the IANA name of a time zone"),
        ("\"interval\": 10, \"endDate\": \"2026-12-31\"", "schedules.s.endDate: must be a date with a time"),
        ("\"interval\": 10, \"type\": \"some\"", "schedules.s.type: must be one of \"worker\" and \"all\""),
        ("\"interval\": 10, \"overlap\": \"queue\"", "schedules.s.overlap: must be one of \"skip\" and \"allow\""),
        ("\"interval\": 10, \"env\": [\"a b\"]", "schedules.s.env[0]: must be "),
        ("\"interval\": 10, \"every\": 1", "schedules.s.every: unknown key"),
        ("\"interval\": 10, \"missed\": \"run\"", "schedules.s.missed: must be one of \"skip\" and \"run-once\""),
        (
            "\"interval\": 10, \"missed\": \"run-once\", \"type\": \"all\"",
            "schedules.s.missed: must be `skip` for the type",
        ),
        (
            "\"interval\": 10, \"missed\": \"run-once\", \"overlap\": \"allow\"",
            "schedules.s.overlap: must be `skip` with",
        ),
        (
            "\"interval\": 10, \"missed\": \"run-once\", \"whenAlone\": \"fire\"",
            "schedules.s.whenAlone: must be `skip`",
        ),
        ("\"interval\": 10, \"missed\": \"run-once\", \"attempts\": 101", "schedules.s.attempts: must be "),
        ("\"interval\": 10, \"missed\": \"run-once\", \"backoff\": 9", "schedules.s.backoff: must be "),
        ("\"interval\": 10, \"attempts\": 2", "schedules.s.attempts: is for runs that are made up for: add"),
        ("\"immediate\": false", "schedules.s: must have `interval`, `cron` or `\"immediate\": true`"),
        ("\"tz\": \"UTC\"", "schedules.s: must have `interval`, `cron` or"),
    ] {
        let fault = fault_of(&one(settings));
        assert!(fault.starts_with("/modules/test-party/module.json:1:") && fault.contains(expected), "{fault}");
    }
    // The position is that of the value.
    let text = one("\"cron\": \"0 25 * * *\"");
    let column = text.find("\"0 25").unwrap() + 1;
    assert!(fault_of(&text).contains(&format!(":1:{column}: schedules.s.cron")), "{}", fault_of(&text));
}

#[test]
fn a_schedule_has_a_route_that_it_may_reach() {
    for (schedule, expected) in [
        ("{ \"interval\": 10 }", "schedules.s: must have either `path`, for a route, or `command`, found neither"),
        ("{ \"path\": \"tock\", \"interval\": 10 }", "schedules.s.path: must be the path of a route of this module"),
        ("{ \"path\": \"test\", \"interval\": 10 }", "schedules.s.path: must be a route without the middleware `test`"),
        (
            "{ \"path\": \"test\", \"interval\": 10, \"env\": [\"test\", \"production\"] }",
            "without the middleware `test`",
        ),
    ] {
        let fault = fault_of(&scheduled(&format!("{{ \"s\": {schedule} }}")));
        assert!(fault.contains(expected), "{fault}");
    }
    let tested = "{ \"s\": { \"path\": \"test\", \"interval\": 10, \"env\": [\"test\", \"development\"] } }";
    assert!(load(&scheduled(tested)).is_ok());
}

#[test]
fn a_module_has_at_most_1024_schedules() {
    let all = |count: usize| {
        let schedules: Vec<_> =
            (0..count).map(|n| format!("\"s{n}\": {{ \"path\": \"tick\", \"interval\": 10 }}")).collect();
        faults(&scheduled(&format!("{{ {} }}", schedules.join(", "))))
    };
    assert_eq!(all(1024), [""; 0]);
    assert!(all(1025)[0].contains("schedules: must have at most 1024 entries, found 1025"));
}

/// The search for a date takes long, so it must not be repeated for each of many schedules.
#[test]
fn many_expressions_that_match_no_date_are_rejected_soon() {
    let schedule = |n| format!("\"s{n:04}\": {{ \"path\": \"tick\", \"cron\": \"{} 0 30 2 *\" }}", n % 60);
    let all: Vec<String> = (0..1024).map(schedule).collect();
    let begun = std::time::Instant::now();
    assert_eq!(faults(&scheduled(&format!("{{ {} }}", all.join(", ")))).len(), 100);
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
}

#[test]
fn the_operator_overrides_settings_also_for_subdomains() {
    let text = scheduled(
        r#"{ "a": { "path": "tick", "interval": "5s", "data": 1 }, "b": { "path": "tick", "cron": "@hourly", "disable": true } }"#,
    );
    let schedules = effective(
        &text,
        r#"{
          "schedules": { "a": { "disable": true, "cron": "@daily", "tz": "Asia/Tokyo" }, "b": { "disable": false, "immediate": true, "overlap": "allow" } },
          "subdomains": { "acme": { "schedules": { "a": { "disable": false, "data": { "for": "acme" } }, "b": {} } }, "other": {} },
        }"#,
    )
    .unwrap();
    let shown: Vec<String> = schedules
        .iter()
        .map(|schedule| {
            let Schedule { name, subdomain, off, data, timing, .. } = schedule;
            format!("{name} {subdomain:?} {off:?} {} {:?} {:?}", data.to_text(), timing.interval(), timing.cron())
        })
        .collect();
    assert_eq!(
        shown,
        [
            "a None Some(Disabled) 1 None Some(\"@daily\")",
            "a Some(\"acme\") None {\"for\":\"acme\"} None Some(\"@daily\")",
            "b None None  None Some(\"@hourly\")",
            "b Some(\"acme\") None  None Some(\"@hourly\")",
        ]
    );
    assert_eq!(
        (schedules[0].timing.zone(), schedules[2].immediate, schedules[2].overlap),
        ("Asia/Tokyo", true, Overlap::Allow)
    );
}

#[test]
fn wrong_settings_of_the_operator_are_rejected_at_their_place() {
    let text = one("\"immediate\": true");
    let error = effective(&text, r#"{ "schedules": { "s": { "immediate": false } } }"#).unwrap_err();
    assert!(
        error.starts_with("fanfare.json:1:") && error.contains("modules.test-party.schedules.s: must have"),
        "{error}"
    );
    let error = effective(&text, r#"{ "schedules": { "s": { "cron": "0 0 30 2 *" } } }"#).unwrap_err();
    assert!(error.contains("modules.test-party.schedules.s.cron: must match a date that exists"), "{error}");
    let sub = r#"{ "subdomains": { "acme": { "schedules": { "s": { "immediate": false } } } } }"#;
    let error = effective(&text, sub).unwrap_err();
    assert!(error.contains("modules.test-party.subdomains.acme.schedules.s: must have"), "{error}");
    let malformed = r#"{ "modules": { "test-party": { "schedules": { "s": { "cron": "0 99 * * *" } } } } }"#;
    let error = Config::from_text(malformed, Path::new("/")).unwrap_err().to_string();
    assert!(error.contains("`99` at character 3 is no valid hour"), "{error}");
}

#[test]
fn data_above_the_limit_of_a_payload_is_rejected() {
    let long = "x".repeat(usize::try_from(Limits::default().payload).unwrap());
    let text = one(&format!("\"interval\": 10, \"data\": \"{long}\""));
    let error = effective(&text, "{}").map(drop).unwrap_err();
    assert!(error.contains("schedules.s.data: must have at most") && error.contains("limits.payload"), "{error}");
    let fits = one(&format!("\"interval\": 10, \"data\": \"{}\"", &long[2..]));
    assert!(effective(&fits, "{}").is_ok());
}

#[test]
fn settings_for_a_schedule_that_does_not_exist_are_a_warning() {
    let config = r#"{ "modules": { "test-party": { "schedules": { "tik": {} }, "subdomains": { "a": { "schedules": { "t": {} } } } } } }"#;
    let config = Config::from_text(config, Path::new("/")).unwrap();
    let manifest = load(&scheduled("{ \"tick\": { \"path\": \"tick\", \"interval\": 10 } }")).unwrap();
    let warnings: Vec<String> = unknown_schedules(&manifest, &config).iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 2);
    let expected = "modules.test-party.schedules.tik: has no effect, because test-party has no schedule of this name; did you mean \"tick\"?";
    assert!(warnings[0].ends_with(expected), "{warnings:?}");
}
