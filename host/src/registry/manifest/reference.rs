//! References to routes: the `path` of a broadcast, a schedule, a subscription and so on.

use http::Method;

use super::model::Route;
use super::path::{self, PathError};
use crate::document::shape;
use crate::registry::segment::Segment;

/// Why a reference does not lead to a route of the module.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReferenceError {
    #[error(transparent)]
    Path(#[from] PathError),
    /// The suggestion is empty, or names the nearest path.
    #[error("must be the path of a route of this module{suggestion}")]
    NoRoute { suggestion: String },
    #[error("must be a route of this module: the path has no method {method}, only {}", .methods.join(" and "))]
    NoMethod { method: Method, methods: Vec<String> },
    #[error(
        "must name the method, since the path has several and none is POST: write one of {} before it",
        .methods.join(" and ")
    )]
    Ambiguous { methods: Vec<String> },
}

/// Returns the index of the route that the reference `text` means. `Ok(None)` when it may mean a
/// route that has a fault itself.
pub(super) fn resolve_reference(text: &str, routes: &[Option<Route>]) -> Result<Option<usize>, ReferenceError> {
    let (method, segments) = path::parse_reference(text)?;
    let wanted = path::shape(&segments);
    let same: Vec<(usize, &Method)> = routes
        .iter()
        .enumerate()
        .filter_map(|(index, route)| Some((index, route.as_ref()?)))
        .filter(|(_, route)| path::shape(&route.path) == wanted)
        .map(|(index, route)| (index, &route.method))
        .collect();
    let with = |method: &Method| same.iter().find(|(_, other)| *other == method).map(|(index, _)| *index);
    let found = match (&method, same.as_slice()) {
        (Some(method), _) => with(method),
        (None, [(index, _)]) => Some(*index),
        (None, _) => with(&Method::POST),
    };
    if found.is_some() || routes.iter().any(Option::is_none) {
        return Ok(found);
    }
    let methods: Vec<String> = same.iter().map(|(_, method)| method.to_string()).collect();
    Err(match method {
        _ if methods.is_empty() => {
            let texts: Vec<&str> = routes.iter().flatten().map(|route| route.text.as_str()).collect();
            ReferenceError::NoRoute { suggestion: shape::did_you_mean(&written(&segments), &texts) }
        }
        Some(method) => ReferenceError::NoMethod { method, methods },
        None => ReferenceError::Ambiguous { methods },
    })
}

/// Writes a path as in `module.json`.
fn written(segments: &[Segment]) -> String {
    let part = |segment: &Segment| match segment {
        Segment::Literal(text) => text.clone(),
        Segment::Param(name) => format!("{{{name}}}"),
    };
    segments.iter().map(part).collect::<Vec<_>>().join("/")
}
