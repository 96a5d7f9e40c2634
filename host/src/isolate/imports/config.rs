//! `fanfare:module/config`.

use crate::bindings::fanfare::module::config::Host;
use crate::isolate::state::State;

impl Host for State {
    fn get(&mut self, caller: Option<u64>, pointer: String) -> Option<String> {
        let context = self.guest.context(caller);
        let subdomain = context.as_ref().and_then(|context| context.subdomain.as_deref());
        self.guest.generation.config(subdomain).pointer(&pointer).map(|value| value.to_string())
    }
}
