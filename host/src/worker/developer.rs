//! What the page for developers shows and does, through the worker that owns the connection.

use std::time::Duration;

use super::WorkerModules;
use crate::call::{CallError, Emission, GatherEntry, Payload, TriggerKind};
use crate::config::Capabilities;
use crate::dispatch::Actor;
use crate::isolate::{Slot, SlotState};
use crate::registry::{Access, Manifest, ModuleState, Note};
use crate::triggers::developer::{DeveloperBackend, DeveloperModule, DeveloperRoute, DeveloperSchedule};

impl DeveloperBackend for WorkerModules {
    fn modules(&self, test_routes: bool) -> Vec<DeveloperModule> {
        let states = self.dispatch.roster().states().into_iter();
        states.map(|(name, state)| self.developer_module(name, state, test_routes)).collect()
    }

    fn notices(&self) -> Vec<String> {
        self.dispatch.roster().notices()
    }

    fn emit(
        &self,
        emission: Emission,
        payload: Payload,
        timeout: Duration,
    ) -> impl Future<Output = Result<Vec<GatherEntry>, CallError>> + Send {
        self.dispatch.gather(&Actor::Operator, emission, payload, Some(timeout))
    }
}

impl WorkerModules {
    fn developer_module(&self, name: String, state: ModuleState, test_routes: bool) -> DeveloperModule {
        let failed_build = || self.dispatch.roster().failed_build(&name);
        let absent = |state: &str, why: Option<String>| DeveloperModule {
            name: name.clone(),
            state: state.to_owned(),
            errors: why.into_iter().chain(failed_build()).collect(),
            ..DeveloperModule::default()
        };
        match state {
            ModuleState::Loading => return absent("loading", None),
            ModuleState::Waiting(why) => return absent("waiting", Some(why)),
            ModuleState::Refused(why) => return absent("refused", Some(why)),
            ModuleState::Installed(_) => {}
        }
        let Some(slot) = self.isolate.slot(&name) else { return absent("loading", None) };
        let deployment = slot.deployment();
        let (generation, manifest) = (&deployment.generation, &deployment.generation.manifest);
        DeveloperModule {
            state: self.state_of(&name).as_str().to_owned(),
            generation: Some(generation.short_digest().to_owned()),
            // A module that asks for more than was granted is not installed.
            grants: manifest.capabilities.missing(&Capabilities::default()),
            notes: self.notes_of(&name),
            errors: self.errors_of(&name),
            routes: routes(manifest, test_routes),
            wasi_http: generation.exports.http.as_ref().map(|http| http.export.clone()),
            broadcasts: manifest.broadcasts.keys().cloned().collect(),
            schedules: schedules(manifest),
            startups: manifest.startups.values().map(|startup| manifest.route_text(startup.route)).collect(),
            hooks: hooks(manifest),
            subscriptions: Vec::new(),
            sockets: manifest.sockets.iter().map(|(pattern, _)| pattern.to_owned()).collect(),
            name,
        }
    }

    /// The state of a module in every isolate: the first that is not ready, if there is one.
    fn state_of(&self, module: &str) -> SlotState {
        let slots = self.dispatch.places().slots(module);
        slots.iter().map(|slot| slot.state()).find(|state| *state != SlotState::Ready).unwrap_or(SlotState::Ready)
    }

    /// What the operator should know about a module that serves as it should.
    fn notes_of(&self, module: &str) -> Vec<String> {
        let note = self.dispatch.roster().note(module).filter(|note| !is_error(note));
        note.map(|note| note.to_string()).into_iter().collect()
    }

    /// Why files of a module that serves were refused, why its last build failed, and why instances
    /// of it have ended.
    fn errors_of(&self, module: &str) -> Vec<String> {
        let roster = self.dispatch.roster();
        let refused = roster.note(module).filter(is_error).map(|note| note.to_string());
        let end = |slot: &Slot| slot.last_end().map(|end| format!("{}, {}: {}", slot.isolate, end.time(), end.why));
        let slots = self.dispatch.places().slots(module);
        let ends = slots.iter().filter_map(|slot| end(slot));
        refused.into_iter().chain(roster.failed_build(module)).chain(ends).collect()
    }
}

fn is_error(note: &Note) -> bool {
    match note {
        Note::Pinned { .. } | Note::Canary { .. } => false,
        Note::RolledBack { .. }
        | Note::NotRolledBack { .. }
        | Note::Refused { .. }
        | Note::LastGood { .. }
        | Note::NoMiddleware { .. } => true,
    }
}

fn hooks(manifest: &Manifest) -> Vec<String> {
    let described = manifest.hooks.iter().map(|(name, hook)| format!("{name}: {}", manifest.route_text(hook.route)));
    described.collect()
}

/// The schedules as the manifest declares them. `fanfare schedules` shows them with the operator's
/// settings.
fn schedules(manifest: &Manifest) -> Vec<DeveloperSchedule> {
    let described = manifest.schedules.iter().map(|(name, one)| {
        let interval = one.settings.interval.map(|interval| format!("every {interval:?}"));
        let cron = one.settings.cron.as_ref().map(|cron| {
            let zone = one.settings.tz.as_deref().map(|zone| format!(" ({zone})")).unwrap_or_default();
            format!("{cron}{zone}")
        });
        let when: Vec<String> = interval.into_iter().chain(cron).collect();
        let route = one.route().map(|index| manifest.route_text(index)).unwrap_or_default();
        DeveloperSchedule { name: name.clone(), when: when.join(", "), route, results: Vec::new() }
    });
    described.collect()
}

fn routes(manifest: &Manifest, test_routes: bool) -> Vec<DeveloperRoute> {
    let routes = manifest.routes.iter().map(|route| DeveloperRoute {
        method: route.method.clone(),
        path: route.text.clone(),
        closed: Access::of(&route.middlewares, test_routes).admits(TriggerKind::Http).err(),
    });
    routes.collect()
}
