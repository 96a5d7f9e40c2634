//! Who may call a route: one rule for every trigger.

use super::manifest::Middleware;
use crate::call::TriggerKind;

/// Who may call a route: what its middlewares say in this host's environment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Access {
    /// Calls from outside are refused.
    inner: bool,
    /// All calls are refused.
    test: bool,
}

/// Why a route refuses a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    #[error("the route is `inner`: only calls from inside reach it")]
    Inner,
    #[error("the route is `test`: it is open with --env development and --env test only")]
    Test,
}

impl Access {
    /// `test_routes`: whether the environment opens routes with the middleware `test`
    /// ([`opens_test_routes`](crate::config::opens_test_routes)).
    pub fn of(middlewares: &[Middleware], test_routes: bool) -> Access {
        Access {
            inner: middlewares.contains(&Middleware::Inner),
            test: middlewares.contains(&Middleware::Test) && !test_routes,
        }
    }

    /// Whether a call with this trigger reaches the route.
    pub fn admits(self, trigger: TriggerKind) -> Result<(), Closed> {
        match self {
            Access { inner: true, .. } if trigger.is_outside() => Err(Closed::Inner),
            Access { test: true, .. } => Err(Closed::Test),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trigger_and_middleware() {
        use Middleware::{Inner, Test};
        for trigger in TriggerKind::ALL {
            let outside = trigger == TriggerKind::Http;
            let inner = if outside { Err(Closed::Inner) } else { Ok(()) };
            let both_closed = if outside { Err(Closed::Inner) } else { Err(Closed::Test) };
            for (middlewares, in_test, elsewhere) in [
                (vec![], Ok(()), Ok(())),
                (vec![Inner], inner, inner),
                (vec![Test], Ok(()), Err(Closed::Test)),
                (vec![Inner, Test], inner, both_closed),
            ] {
                assert_eq!(Access::of(&middlewares, true).admits(trigger), in_test, "{middlewares:?} {trigger:?}");
                assert_eq!(Access::of(&middlewares, false).admits(trigger), elsewhere, "{middlewares:?} {trigger:?}");
            }
        }
    }
}
