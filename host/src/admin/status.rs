//! What `fanfare status` shows.

use serde_json::{Value, json};

use super::Admin;
use crate::dispatch::Dispatch;
use crate::isolate::Slot;
use crate::registry::{ModuleState, Roster};

pub fn status(admin: &Admin) -> Value {
    let (config, dispatch, roster, sockets) = (&admin.config, &admin.dispatch, &admin.roster, &admin.sockets);
    let space = admin.swapper.environment.engine.space();
    let listed: Vec<Value> =
        roster.states().into_iter().map(|(name, state)| module(&name, &state, dispatch, roster)).collect();
    let blocked = dispatch.places().all().filter(|isolate| isolate.heartbeat.is_blocked());
    json!({
        "node": config.node.id,
        "server": config.node.server,
        "environment": config.environment,
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "workers": dispatch.workers().len(),
        "ready": roster.is_ready(),
        "blocked": blocked.map(|isolate| isolate.id.to_string()).collect::<Vec<_>>(),
        "connections": {
            "open": admin.connections(),
            "max": sockets.max_connections(),
            "configured": config.http.max_connections,
        },
        "buffered": { "bytes": sockets.buffered.taken(), "max": sockets.buffered.max() },
        "descriptors": { "max": sockets.descriptors.limit, "reserved": sockets.descriptors.reserved },
        "addressSpace": { "used": space.bytes().used, "limit": space.bytes().limit },
        "mappings": { "used": space.mappings().used, "limit": space.mappings().limit },
        "notes": roster.notices(),
        "modules": listed,
    })
}

fn module(name: &str, state: &ModuleState, dispatch: &Dispatch, roster: &Roster) -> Value {
    match state {
        ModuleState::Loading => json!({ "name": name, "state": "loading", "isolates": [] }),
        ModuleState::Waiting => {
            json!({ "name": name, "state": "waiting", "reason": "the component is not there yet", "isolates": [] })
        }
        ModuleState::Refused(why) => json!({ "name": name, "state": "refused", "reason": why, "isolates": [] }),
        ModuleState::Held(generation) => {
            let slots = dispatch.places().slots(name);
            json!({
                "name": name,
                "generation": generation.digest,
                "state": overall(&slots),
                "serial": generation.is_serial(),
                "note": roster.note(name).map(|note| note.to_string()),
                "isolates": slots.iter().map(|slot| isolate(slot)).collect::<Vec<_>>(),
            })
        }
    }
}

/// `ready`, or the worst of its isolates' states.
fn overall(slots: &[std::sync::Arc<Slot>]) -> &'static str {
    let states: Vec<&'static str> = slots.iter().map(|slot| slot.state().as_str()).collect();
    ["failed", "restarting", "starting"].into_iter().find(|state| states.contains(state)).unwrap_or("ready")
}

fn isolate(slot: &Slot) -> Value {
    let state = slot.state();
    let (calls, broadcasts) = slot.mailbox.waiting();
    json!({
        "isolate": slot.isolate.to_string(),
        "state": state.as_str(),
        "generation": slot.version().generation.short_digest(),
        "reason": state.why().or(slot.last_crash().as_deref()),
        "restarts": slot.stats.restarts.get(),
        "in_flight": slot.stats.in_flight.get(),
        "held": slot.mailbox.is_held(),
        "waiting": calls,
        "waiting_broadcasts": broadcasts,
        "leaked": slot.stats.leaked.get(),
    })
}
