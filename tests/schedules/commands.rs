//! `fanfare schedules`, against a running host.

use serde_json::json;

use crate::cli::project::Project;
use crate::harness::eventually;

#[tokio::test]
async fn schedules_are_shown_and_run() {
    let project = Project::with(&["schedules"]);
    let mut manifest: serde_json::Value = serde_json::from_str(&project.read("modules/schedules/module.json")).unwrap();
    manifest["schedules"] = json!({
        "soon": { "path": "tick", "immediate": true },
        "nightly": { "path": "tick", "cron": "0 3 * * *", "tz": "Europe/Berlin", "disable": true },
        "every": { "path": "tick", "interval": "1h", "type": "all" },
    });
    let project = project.file("modules/schedules/module.json", manifest.to_string());
    let serving = project.serve(&[]).await;
    let admin = serving.admin();
    let schedules = async |args: &[&str]| project.run(&[&["schedules"][..], args, &["--admin", &admin]].concat()).await;
    eventually("the immediate run has ended", || async { schedules(&[]).await.out.contains("ok, ") }).await;
    let shown = schedules(&[]).await;
    assert_eq!(shown.code, 0, "{}", shown.err);
    let lines: Vec<Vec<&str>> = shown.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..4], ["MODULE", "SCHEDULE", "TYPE", "WHEN"]);
    assert_eq!(lines[1][..5], ["schedules", "every", "all", "every", "1h"]);
    assert_eq!(lines[2][3..10], ["0", "3", "*", "*", "*", "Europe/Berlin", "disabled"]);
    assert_eq!(lines[3][..6], ["schedules", "soon", "worker", "once", "done", "ok,"]);
    assert!(shown.out.contains("\nschedules:nightly is disabled: `disable` is true\n"), "{}", shown.out);
    let json = schedules(&["--json"]).await.json();
    assert_eq!((&json[0]["name"], &json[0]["interval"]), (&json!("every"), &json!(3_600_000)));

    let run = schedules(&["run", "schedules", "nightly", "{\"a\":1}"]).await;
    assert_eq!(run.code, 0, "{}", run.err);
    let reply: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!((&reply["name"], &reply["data"]), (&json!("nightly"), &json!({ "a": 1 })));
    let all = schedules(&["run", "schedules", "every"]).await;
    assert!(all.out.starts_with("worker-0  200  {") && all.out.contains("\nworker-1  200  {"), "{}", all.out);

    let failed = schedules(&["run", "schedules", "nightly", "{\"how\":\"fails\"}"]).await;
    assert_eq!((failed.code, failed.out.as_str()), (1, ""));
    assert!(failed.err.starts_with("error: on-request (409): this run fails on request"), "{}", failed.err);
    let failed = schedules(&["run", "schedules", "every", "{\"how\":\"fails\"}"]).await;
    assert_eq!((failed.code, failed.err.as_str()), (1, "error: 2 of 2 workers failed\n"));
    let unknown = schedules(&["run", "schedules", "none"]).await;
    let expected = "error: not-found (404): schedules has no schedule `none`; it has: every, nightly, soon\n";
    assert_eq!((unknown.code, unknown.err.as_str()), (1, expected));
    assert_eq!(schedules(&["run", "schedules", "nightly", "text"]).await.code, 2);
    assert_eq!(schedules(&["run", "schedules"]).await.code, 2, "the name is missing");
    assert_eq!(schedules(&["stop", "schedules", "nightly"]).await.code, 2);
}

#[tokio::test]
async fn check_reports_wrong_schedules_and_unknown_ones() {
    let project = Project::with(&["schedules"]);
    let mut manifest: serde_json::Value = serde_json::from_str(&project.read("modules/schedules/module.json")).unwrap();
    manifest["schedules"] = json!({ "s": { "path": "tick", "immediate": true } });
    let project = project
        .file("modules/schedules/module.json", manifest.to_string())
        .config(json!({ "modules": { "schedules": { "schedules": { "s": { "immediate": false }, "t": {} } } } }));
    let checked = project.run(&["check"]).await;
    assert_eq!(checked.code, 1);
    let out = checked.out + &checked.err;
    assert!(out.contains("modules.schedules.schedules.s: must have `interval`, `cron` or"), "{out}");
    assert!(out.contains("modules.schedules.schedules.t: has no effect"), "{out}");
}
