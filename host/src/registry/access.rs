//! The access rule of a route, the same for every trigger.

use super::manifest::Middleware;
use crate::call::TriggerKind;

/// The access rule of a route, from its middlewares and the environment of this host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Access {
    /// Whether the route rejects calls from outside.
    inner: bool,
    /// Whether the route rejects all calls.
    test: bool,
}

/// Why a route rejects a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    #[error("the route is `inner`: only calls from inside reach it")]
    Inner,
    #[error("the route is `test`: it is open only with --env development or --env test")]
    Test,
}

impl Access {
    /// Creates the rule of a route with these middlewares. `test_routes` says whether the
    /// environment opens routes with the middleware `test`
    /// ([`opens_test_routes`](crate::config::opens_test_routes)).
    pub fn of(middlewares: &[Middleware], test_routes: bool) -> Access {
        Access {
            inner: middlewares.contains(&Middleware::Inner),
            test: middlewares.contains(&Middleware::Test) && !test_routes,
        }
    }

    /// Checks whether a call with this trigger reaches the route.
    pub fn admits(self, trigger: TriggerKind) -> Result<(), AccessError> {
        match self {
            Access { inner: true, .. } if trigger.is_outside() => Err(AccessError::Inner),
            Access { test: true, .. } => Err(AccessError::Test),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_middleware_admits_its_triggers_only() {
        use Middleware::{Inner, Test};
        for trigger in TriggerKind::ALL {
            let outside = trigger == TriggerKind::Http;
            let inner = if outside { Err(AccessError::Inner) } else { Ok(()) };
            let both_closed = if outside { Err(AccessError::Inner) } else { Err(AccessError::Test) };
            for (middlewares, in_test, elsewhere) in [
                (vec![], Ok(()), Ok(())),
                (vec![Inner], inner, inner),
                (vec![Test], Ok(()), Err(AccessError::Test)),
                (vec![Inner, Test], inner, both_closed),
            ] {
                assert_eq!(Access::of(&middlewares, true).admits(trigger), in_test, "{middlewares:?} {trigger:?}");
                assert_eq!(Access::of(&middlewares, false).admits(trigger), elsewhere, "{middlewares:?} {trigger:?}");
            }
        }
    }
}
