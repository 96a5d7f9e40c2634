//! The access rule of a route, the same for every trigger.

use super::manifest::Middleware;
use crate::call::TriggerKind;

/// The access rule of a route, from its middlewares and the environment of this host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Access {
    /// Whether the route rejects calls from outside.
    inner: bool,
    /// Whether the route rejects all calls except messages of clients.
    session: bool,
    /// Whether the route rejects all calls.
    test: bool,
    /// Whether the route has the middleware `cors`.
    cors: bool,
}

/// Why a route rejects a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    #[error("the route is `inner`: only calls from inside reach it")]
    Inner,
    #[error("the route is `session`: only messages of connected clients reach it")]
    Session,
    #[error("messages of connected clients reach only routes with the middleware `session`")]
    NoSession,
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
            session: middlewares.contains(&Middleware::Session),
            test: middlewares.contains(&Middleware::Test) && !test_routes,
            cors: middlewares.contains(&Middleware::Cors),
        }
    }

    /// Whether the route has the middleware `cors`.
    pub fn names_cors(self) -> bool {
        self.cors
    }

    /// Checks whether a call with this trigger reaches the route.
    pub fn admits(self, trigger: TriggerKind) -> Result<(), AccessError> {
        let from_session = trigger == TriggerKind::Client;
        match self {
            Access { session: true, .. } if !from_session => Err(AccessError::Session),
            Access { session: false, .. } if from_session => Err(AccessError::NoSession),
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
        use Middleware::{Inner, Session, Test};

        for trigger in TriggerKind::ALL {
            let (outside, client) = (trigger.is_outside(), trigger == TriggerKind::Client);
            let plain = if client { Err(AccessError::NoSession) } else { Ok(()) };
            let inner = if outside { plain.and(Err(AccessError::Inner)) } else { Ok(()) };
            let test = plain.and(Err(AccessError::Test));
            let session = if client { Ok(()) } else { Err(AccessError::Session) };
            for (middlewares, in_test, elsewhere) in [
                (vec![], plain, plain),
                (vec![Inner], inner, inner),
                (vec![Test], plain, test),
                (vec![Inner, Test], inner, inner.and(test)),
                (vec![Session], session, session),
                (vec![Session, Test], session, session.and(Err(AccessError::Test))),
            ] {
                assert_eq!(Access::of(&middlewares, true).admits(trigger), in_test, "{middlewares:?} {trigger:?}");
                assert_eq!(Access::of(&middlewares, false).admits(trigger), elsewhere, "{middlewares:?} {trigger:?}");
            }
        }
    }

    #[test]
    fn only_http_and_messages_of_clients_come_from_outside() {
        let outside: Vec<_> = TriggerKind::ALL.into_iter().filter(|trigger| trigger.is_outside()).collect();
        assert_eq!(outside, [TriggerKind::Http, TriggerKind::Client]);
    }
}
