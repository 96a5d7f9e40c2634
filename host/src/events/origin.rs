//! The part of the host that an event comes from.

use serde::{Deserialize, Serialize};

use crate::call::IsolateId;

/// Where a `fail` or a `warning` comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// The part of the host.
    #[serde(rename = "type")]
    pub kind: OriginKind,
    /// The index of the worker or broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// The module, if it concerns one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
}

/// The part of the host that a `fail` or a `warning` comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum OriginKind {
    /// `Master`: the host itself, or the master isolate.
    Master,
    /// `Worker`: the isolate of a worker.
    Worker,
    /// `Broker`: the isolate of a broker.
    Broker,
}

impl Origin {
    /// The host itself.
    pub fn master() -> Origin {
        Origin { kind: OriginKind::Master, id: None, module: None }
    }

    /// An isolate.
    pub fn isolate(isolate: IsolateId) -> Origin {
        let (kind, id) = match isolate {
            IsolateId::Worker(id) => (OriginKind::Worker, Some(id)),
            IsolateId::Broker(id) => (OriginKind::Broker, Some(id)),
            IsolateId::Master => (OriginKind::Master, None),
        };
        Origin { kind, id, module: None }
    }

    /// A module in an isolate.
    pub fn module(isolate: IsolateId, module: &str) -> Origin {
        Origin { module: Some(module.to_owned()), ..Origin::isolate(isolate) }
    }
}
