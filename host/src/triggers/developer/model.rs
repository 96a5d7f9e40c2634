//! What the page for developers shows.

use http::Method;

use crate::api::{LastRun, ScheduleStatus, SubscriptionStatus};
use crate::registry::AccessError;

/// A module on the page.
#[derive(Debug, Clone, Default)]
pub struct DeveloperModule {
    pub name: String,
    /// The state of the module, such as `ready`.
    pub state: String,
    /// The beginning of the digest of the generation that serves.
    pub generation: Option<String>,
    /// What the operator should know about it, such as a pin.
    pub notes: Vec<String>,
    /// The capabilities that the operator has granted, such as `rpc: chat`.
    pub grants: Vec<String>,
    /// Why the module does not serve, or why its last instances ended.
    pub errors: Vec<String>,
    pub routes: Vec<DeveloperRoute>,
    /// The interface through which it answers all other requests below `/api/<module>/`.
    pub wasi_http: Option<String>,
    /// The names of its broadcasts.
    pub broadcasts: Vec<String>,
    pub schedules: Vec<DeveloperSchedule>,
    /// The routes that run before an instance serves.
    pub startups: Vec<String>,
    /// Its hooks, each with the route.
    pub hooks: Vec<String>,
    pub subscriptions: Vec<DeveloperResult>,
    /// The patterns of its WebSockets.
    pub sockets: Vec<String>,
}

/// A route on the page.
#[derive(Debug, Clone)]
pub struct DeveloperRoute {
    pub method: Method,
    /// The path as in the manifest, without a leading slash.
    pub path: String,
    /// Why HTTP requests cannot call it.
    pub closed: Option<AccessError>,
}

/// A schedule on the page.
#[derive(Debug, Clone)]
pub struct DeveloperSchedule {
    pub name: String,
    /// The times at which it is due, as the manifest has them.
    pub when: String,
    /// The route that it runs, as `POST path`. Empty if it runs a program.
    pub route: String,
    /// How its runs ended: one entry for each subdomain.
    pub results: Vec<DeveloperResult>,
}

/// How the calls ended that the host makes by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeveloperResult {
    pub text: String,
    /// Why the last one failed, if the host knows.
    pub failure: Option<String>,
}

/// What the schedules and the subscriptions of the node have done.
#[derive(Debug, Default)]
pub struct Results {
    pub schedules: Vec<ScheduleStatus>,
    pub subscriptions: Vec<SubscriptionStatus>,
}

impl Results {
    /// Adds the results of a module's schedules and its subscriptions.
    pub(super) fn add_to(&self, module: &mut DeveloperModule) {
        let name = &module.name;
        for schedule in &mut module.schedules {
            let own = self.schedules.iter().filter(|one| one.module == *name && one.name == schedule.name);
            schedule.results = own.map(of_schedule).collect();
        }
        let own = self.subscriptions.iter().filter(|one| one.module == *name);
        module.subscriptions = own.map(of_subscription).collect();
    }
}

fn of_schedule(status: &ScheduleStatus) -> DeveloperResult {
    let ScheduleStatus { subdomain, reason, succeeded, failed, last, .. } = status;
    let subdomain = subdomain.as_deref().map(|name| format!("For {name}: ")).unwrap_or_default();
    let disabled = reason.as_deref().map(|reason| format!("Disabled: {reason}. ")).unwrap_or_default();
    let ran = match last {
        None => "No run has ended yet.".to_owned(),
        Some(LastRun { success, run_time, .. }) => {
            let ended = if *success { "succeeded" } else { "failed" };
            format!("The last run {ended} after {run_time} ms; {succeeded} succeeded and {failed} failed.")
        }
    };
    DeveloperResult {
        text: format!("{subdomain}{disabled}{ran}"),
        failure: last.as_ref().and_then(|last| last.message.clone()),
    }
}

fn of_subscription(status: &SubscriptionStatus) -> DeveloperResult {
    let SubscriptionStatus { name, source, topic, delivered, failed, dropped, failure, .. } = status;
    DeveloperResult {
        text: format!("{name}: {source} {topic}; {delivered} succeeded, {failed} failed, {dropped} dropped"),
        failure: failure.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_gets_the_results_of_its_own_schedules_and_subscriptions() {
        let tick = |module: &str| ScheduleStatus { module: module.into(), name: "tick".into(), ..Default::default() };
        let last = LastRun { run_time: 3, message: Some("no room".into()), ..LastRun::default() };
        let failed = ScheduleStatus {
            subdomain: Some("acme".into()),
            reason: Some("`disable` is true".into()),
            succeeded: 7,
            failed: 2,
            last: Some(last),
            ..tick("flags")
        };
        let subscription = |module: &str| SubscriptionStatus {
            module: module.into(),
            name: "s".into(),
            source: "event".into(),
            topic: "a/*".into(),
            delivered: 7,
            failed: 1,
            failure: Some("no stock".into()),
            ..SubscriptionStatus::default()
        };
        let results = Results {
            schedules: vec![tick("flags"), tick("other"), failed],
            subscriptions: vec![subscription("other"), subscription("flags")],
        };
        let schedule = |name: &str| DeveloperSchedule {
            name: name.into(),
            when: String::new(),
            route: String::new(),
            results: Vec::new(),
        };
        let schedules = vec![schedule("tick"), schedule("none")];
        let mut module = DeveloperModule { name: "flags".into(), schedules, ..DeveloperModule::default() };
        results.add_to(&mut module);
        let ran = "For acme: Disabled: `disable` is true. The last run failed after 3 ms; 7 succeeded and 2 failed.";
        let result = |text: &str, failure: Option<&str>| DeveloperResult {
            text: text.to_owned(),
            failure: failure.map(str::to_owned),
        };
        let expected = [result("No run has ended yet.", None), result(ran, Some("no room"))];
        assert_eq!(module.schedules[0].results, expected);
        assert_eq!(module.schedules[1].results, []);
        let expected = [result("s: event a/*; 7 succeeded, 1 failed, 0 dropped", Some("no stock"))];
        assert_eq!(module.subscriptions, expected);
    }
}
