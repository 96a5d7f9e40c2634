//! Checks the keys `schedules` and `subscriptions`.

use std::collections::BTreeMap;

use super::Check;
use super::rules::has;
use crate::config::opens_test_routes;
use crate::document::tree::Path as KeyPath;
use crate::registry::manifest::model::Route;
use crate::registry::manifest::raw::Middleware;
use crate::registry::manifest::schedules::{self, DeclaredSchedule, RawSchedule, Runs};
use crate::registry::manifest::subscriptions::{DeclaredSubscription, RawSubscription};

impl Check<'_> {
    pub(super) fn schedules(&mut self, routes: &[Option<Route>]) -> BTreeMap<String, DeclaredSchedule> {
        let mut schedules = BTreeMap::new();
        for member in self.members("schedules") {
            let Some(raw) = member.node.read::<RawSchedule>() else { continue };
            let path = KeyPath::of(&["schedules", &member.name]);
            let runs = match (&raw.path, &raw.command) {
                (Some(_), None) => self.reference(routes, "schedules", member).map(Runs::Route),
                (None, Some(command)) => Some(Runs::Command(command.as_slice().into())),
                (path_of, _) => {
                    let found = if path_of.is_some() { "both" } else { "neither" };
                    let rule = format!("must have either `path`, for a route, or `command`, found {found}");
                    self.fault(&member.node.origin, &path, rule);
                    None
                }
            };
            let Some(runs) = runs else { continue };
            let schedule = DeclaredSchedule::new(runs, raw);
            let opens = |name: &String| opens_test_routes(name);
            if has(routes, schedule.route(), Middleware::Test)
                && (schedule.env.is_empty() || !schedule.env.iter().all(opens))
            {
                let rule = "must be a route without the middleware `test`, or `env` must allow only `development` and `test`: the route is closed elsewhere";
                self.fault(&member.node.origin, &path.key("path"), rule.to_owned());
            }
            // The settings with a malformed text have a fault already.
            let below = format!("{path}.");
            let malformed = self.faults.list().iter().any(|fault| fault.key.starts_with(&below));
            if !malformed && let Err((key, rule)) = schedules::check(schedule.kind, &schedule.settings) {
                let origin = key.and_then(|key| member.node.get(key)).unwrap_or(&member.node).origin.clone();
                self.fault(&origin, &key.map_or(path.clone(), |key| path.key(key)), rule.to_owned());
            }
            if schedules::durable(&schedule.settings).is_none() {
                let message = "is for runs that are made up for: add `\"missed\": \"run-once\"`, or remove it";
                self.attempts_of_none(member, &path, message);
            }
            schedules.insert(member.name.clone(), schedule);
        }
        schedules
    }

    pub(super) fn subscriptions(&mut self, routes: &[Option<Route>]) -> BTreeMap<String, DeclaredSubscription> {
        let mut subscriptions = BTreeMap::new();
        for member in self.members("subscriptions") {
            let path = KeyPath::of(&["subscriptions", &member.name]);
            let route = self.reference(routes, "subscriptions", member);
            if has(routes, route, Middleware::Test) {
                let rule = "must be a route without the middleware `test`: messages arrive in every environment";
                self.fault(&member.node.origin, &path.key("path"), rule.to_owned());
            }
            // A subscription with another fault may be hard to read.
            let below = format!("{path}.");
            if self.faults.list().iter().any(|fault| fault.key.starts_with(&below)) {
                continue;
            }
            let Some(raw) = member.node.read::<RawSubscription>() else { continue };
            match DeclaredSubscription::new(route, raw) {
                Ok(subscription) => drop(subscriptions.insert(member.name.clone(), subscription)),
                Err((key, rule)) => {
                    let origin = key.and_then(|key| member.node.get(key)).unwrap_or(&member.node).origin.clone();
                    self.fault(&origin, &key.map_or(path.clone(), |key| path.key(key)), rule.to_owned());
                }
            }
        }
        subscriptions
    }
}
