//! Calls of routes, broadcasts and reloads.

use fanfare_sdk::wit::types::{Address, Emission};
use fanfare_sdk::wit::{broadcast, rpc};

use super::{Act, options, text};
use crate::steps::{Name, Run, address};

fn emission(name: &Name, module: Option<&Name>) -> Emission {
    Emission { module: text(module), name: name.text(), subdomain: None, extra: Vec::new() }
}

impl Run<'_> {
    pub(super) async fn calls(&mut self, act: &Act) {
        let call = self.caller;
        match act {
            Act::Broadcast { name, module, payload } => {
                let sent = broadcast::emit(call, &emission(name, module.as_ref()), &self.payload(payload));
                self.count("broadcast", sent.map(|receipt| receipt.accepted.into()));
            }
            Act::Gather { name, module, payload, how } => {
                let sent = broadcast::gather(call, &emission(name, module.as_ref()), &self.payload(payload), None);
                self.future("gather", *how, sent, |entries| entries.len().into()).await;
            }
            Act::Reload { module } => {
                let requested = broadcast::reload(call, text(module.as_ref()).as_deref());
                self.count("reload", requested.map(|receipt| receipt.seq.into()));
            }
            Act::Notify { to, route, payload } => {
                let payload = self.payload(payload);
                let sent = rpc::notify(call, &address(&to.text()), &route.text(), &payload, &options(None));
                self.count("notify", sent.map(Into::into));
            }
            Act::Call { to, route, payload, timeout_ms, how } => {
                let (payload, options, route) = (self.payload(payload), options(*timeout_ms), route.text());
                match address(&to.text()) {
                    Address::One(target) => {
                        let reply = rpc::call(call, &target, &route, &payload, &options);
                        self.future("call", *how, reply, |reply| reply.status.into()).await;
                    }
                    Address::Every(group) => {
                        let replies = rpc::call_every(call, &group, &route, &payload, &options);
                        self.future("call", *how, replies, |entries| entries.len().into()).await;
                    }
                }
            }
            other => self.channels(other).await,
        }
    }
}
