//! The fuzz targets: one function for each kind of input from outside, which checks what must be
//! true for any bytes.
//!
//! `fuzz/` runs them with random input, and the unit test below replays its corpus. A released host
//! contains neither.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod clients;
mod positions;
mod times;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use http::Method;

pub use clients::clients;
pub use positions::positions;
pub use times::times;

use crate::call::{CallError, Failure, Payload, Problem, Reply, Route, RouteName};
use crate::config::Config;
use crate::engine::{Cache, Engine};
use crate::registry::manifest::Manifest;
use crate::registry::segment::Segment;
use crate::registry::{self, Access, RouteLookup, RouteSpec, Router, component};
use crate::triggers::{http as trigger, websocket};

/// A fuzz target. It panics if the host handles the bytes wrongly.
pub type FuzzTarget = fn(&[u8]);

/// The targets by name. Each has a folder of that name in `fuzz/corpus`.
pub const TARGETS: [(&str, FuzzTarget); 12] = [
    ("manifest", manifest),
    ("settings", settings),
    ("routes", routes),
    ("component", component),
    ("answers", answers),
    ("route_names", route_names),
    ("artefacts", artefacts),
    ("frames", frames),
    ("packets", packets),
    ("clients", clients),
    ("positions", positions),
    ("times", times),
];

/// Parses `module.json`. The result is a valid manifest, or faults that are safe to print.
pub fn manifest(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Manifest::from_text(Path::new("/modules/fuzzed"), text) {
        Ok(manifest) => {
            let route = |index: &usize| assert!(*index < manifest.routes.len());
            manifest.broadcasts.values().for_each(route);
            manifest.startups.values().map(|startup| &startup.route).for_each(route);
            assert!(manifest.component.starts_with("/modules/fuzzed"), "{}", manifest.component.display());
            let specs = manifest.routes.iter().map(|route| spec(route.method.clone(), route.path.clone()));
            let router = Router::new(specs);
            for route in &manifest.routes {
                assert!(!matches!(router.find(&route.method, &escaped(&route.path)), RouteLookup::BadPath));
            }
        }
        Err(error) => printable(&error.to_string()),
    }
}

/// Decodes the frames of a WebSocket. The size of the parts in which they arrive, which is the
/// first byte, changes nothing.
pub fn frames(bytes: &[u8]) {
    let Some((part, frames)) = bytes.split_first() else { return };
    let whole = websocket::decode(frames, usize::MAX);
    assert_eq!(websocket::decode(frames, usize::from(*part).max(1)), whole);
}

/// Reads a message of a client of SocketCluster. Each event must be the same after the host has
/// written it and read it again, and so must the message of a channel that an event contains.
pub fn packets(bytes: &[u8]) {
    for message in [Payload::guess(bytes.to_vec()), Payload::Bytes(bytes.to_vec())] {
        websocket::read_packets(&message);
        websocket::read_channels(&message);
    }
}

/// Parses `fanfare.json`. The result is valid settings, or faults that are safe to print.
pub fn settings(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Config::from_text(text, Path::new("/project")) {
        Ok(config) => assert!(config.workers > 0 && config.modules_dir.is_absolute()),
        Err(faults) => printable(&faults.to_string()),
    }
}

/// Looks up a route. The first line has the method and path of a request, each further line
/// declares a route. The router must find the same route as a linear search.
pub fn routes(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines = text.lines();
    let Some((asked, path)) = lines.next().and_then(request) else { return };
    let declared: Vec<(Method, Vec<Segment>)> = lines.filter_map(declaration).take(64).collect();
    let router = Router::new(declared.iter().map(|(method, path)| spec(method.clone(), path.clone())));
    let found = router.find(&asked, path);
    let Some(segments) = path.split('/').map(registry::segment::decode_segment).collect::<Option<Vec<_>>>() else {
        assert!(matches!(found, RouteLookup::BadPath));
        return;
    };
    let of_path = |route: &[Segment]| match route {
        [] => path.is_empty(),
        route => {
            let fits = |(declared, asked): (&Segment, &std::borrow::Cow<'_, str>)| match declared {
                Segment::Literal(text) => text.as_str() == &**asked,
                Segment::Param(_) => true,
            };
            route.len() == segments.len()
                && !segments.iter().any(|segment| segment.is_empty())
                && route.iter().zip(&segments).all(fits)
        }
    };
    let of_method = |method: &Method| *method == asked || (asked == Method::HEAD && *method == Method::GET);
    // A literal segment has precedence over a parameter, from left to right.
    let rank =
        |route: &[Segment]| -> Vec<bool> { route.iter().map(|segment| matches!(segment, Segment::Param(_))).collect() };
    let fitting: Vec<&(Method, Vec<Segment>)> = declared.iter().filter(|(_, route)| of_path(route)).collect();
    let best = fitting.iter().filter(|(method, _)| of_method(method)).min_by_key(|(_, route)| rank(route));
    match (found, best) {
        (RouteLookup::Route(matched), Some((_, route))) => {
            assert_eq!(&*matched.route.text, &*spec(Method::GET, route.clone()).route.text);
            assert_eq!(matched.params.len(), rank(route).iter().filter(|param| **param).count());
        }
        (RouteLookup::MethodNotAllowed(methods), None) => assert!(!methods.is_empty() && !fitting.is_empty()),
        (RouteLookup::NotFound, None) => assert!(fitting.is_empty()),
        (found, best) => panic!("{found:?}, expected {best:?}"),
    }
}

/// Inspects the bytes of a component, without compiling them.
pub fn component(bytes: &[u8]) {
    _ = component::is_whole(bytes);
    _ = registry::analyse(bytes);
    match registry::component_info(bytes) {
        Ok(found) => assert_eq!(found.size, bytes.len()),
        Err(why) => assert!(!why.to_string().is_empty()),
    }
}

/// Converts a guest's reply to HTTP. The first line has the status, the following lines have
/// headers, and the payload follows after a zero byte.
pub fn answers(bytes: &[u8]) {
    let (head, body) = bytes.iter().position(|byte| *byte == 0).map_or((bytes, &[][..]), |at| {
        let (head, body) = bytes.split_at(at);
        (head, body.get(1..).unwrap_or_default())
    });
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split('\n');
    let first = lines.next().unwrap_or_default();
    let status = first.trim().parse().unwrap_or(0);
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let payload = Payload::guess(body.to_vec());

    let failure =
        Failure { name: first.to_owned(), message: head.to_string(), status, data: payload.clone(), extra: Vec::new() };
    let document = Problem::from(CallError::Failure(failure)).into_document().to_string();
    // The data is sent as the guest wrote it, so it may be nested deeper than the parser allows, or
    // have numbers that no type holds. Fields that `Known` lacks are only checked for their syntax.
    let problem: Known = serde_json::from_str(&document).unwrap_or_else(|error| panic!("{error}: {document}"));
    assert!(!problem.code.is_empty() && (400..600).contains(&problem.status));

    if let Ok(response) = trigger::response_to(Reply { status, headers, payload, extra: Vec::new() }) {
        assert!((200..600).contains(&response.status().as_u16()));
        for name in ["content-length", "connection", "transfer-encoding", "upgrade", "keep-alive"] {
            assert!(!response.headers().contains_key(name), "{name}");
        }
    }
}

/// The members of each problem document.
#[derive(serde::Deserialize)]
struct Known {
    code: String,
    status: u16,
}

/// Parses a route name. The parsed name, written again, must parse to the same name.
pub fn route_names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(name) = RouteName::parse(text) else { return };
    let method = name.method.as_ref().map(|method| format!("{method} ")).unwrap_or_default();
    let query = if name.query.is_empty() { String::new() } else { format!("?{}", name.query) };
    let written = format!("{method}{}/{}{query}", name.module.as_deref().unwrap_or_default(), name.path);
    assert_eq!(RouteName::parse(&written).as_ref(), Ok(&name), "{text:?}: {written:?}");
}

/// Changes a compiled component on disk, which must then never load. The first byte selects the
/// artefact or its digest, the next two select the offset, and the rest is written there.
pub fn artefacts(bytes: &[u8]) {
    let Some((head, patch)) = bytes.split_first_chunk::<3>() else { return };
    let [selector, high, low] = *head;
    let compiled = compiled();
    let mut files = compiled.files.clone();
    let file = if selector % 2 == 0 { &mut files.0 } else { &mut files.1 };
    let at = (usize::from(high) << 8 | usize::from(low)) % (file.len() + 1);
    let end = (at + patch.len()).min(file.len());
    file.splice(at..end, patch.iter().copied());
    let changed = files != compiled.files;
    let dir = tempfile::Builder::new().permissions(Permissions::from_mode(0o700)).tempdir().unwrap();
    let cache = Cache::open(dir.path(), u64::MAX, 0).unwrap();
    let loads = cache.loads(&compiled.engine, &files.0, &files.1).unwrap();
    assert_eq!(loads, !changed, "at {at}: {patch:?}");
}

/// A small component, compiled once.
struct Compiled {
    engine: Engine,
    /// The artefact and its digest.
    files: (Vec<u8>, Vec<u8>),
}

fn compiled() -> &'static Compiled {
    static COMPILED: OnceLock<Compiled> = OnceLock::new();
    COMPILED.get_or_init(|| {
        let engine = Engine::start(std::time::Duration::from_millis(10), u64::MAX, 0).unwrap();
        let artefact = engine.wasmtime().precompile_component(b"\0asm\x0d\0\x01\0").unwrap();
        let digest = crate::files::digest_of(&mut artefact.as_slice()).unwrap().into_bytes();
        Compiled { engine, files: (artefact, digest) }
    })
}

fn request(line: &str) -> Option<(Method, &str)> {
    let (method, path) = line.split_once(' ')?;
    Some((method.parse().ok()?, path))
}

fn declaration(line: &str) -> Option<(Method, Vec<Segment>)> {
    let (method, path) = request(line)?;
    Some((method, registry::manifest::parse_path(path).ok()?))
}

/// A route whose text is its path.
fn spec(method: Method, path: Vec<Segment>) -> RouteSpec {
    let text: Arc<str> = format!("{path:?}").into();
    RouteSpec {
        method,
        path,
        route: Arc::new(Route { deployment: 0, handler: text.clone(), text, chain: Vec::new() }),
        access: Access::default(),
    }
}

/// A request path for a route, with a text in place of each parameter.
fn escaped(path: &[Segment]) -> String {
    let text = |segment: &Segment| match segment {
        Segment::Literal(text) => text.clone(),
        Segment::Param(_) => "x".to_owned(),
    };
    let segments = path.iter().map(|segment| {
        percent_encoding::utf8_percent_encode(&text(segment), percent_encoding::NON_ALPHANUMERIC).to_string()
    });
    segments.collect::<Vec<_>>().join("/")
}

/// Asserts that a text for terminals has no control characters except line breaks.
#[track_caller]
fn printable(text: &str) {
    assert!(!text.is_empty());
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// Inputs with their files.
    type Inputs = Vec<(PathBuf, Vec<u8>)>;

    /// The inputs of each target.
    fn corpus() -> [(&'static str, FuzzTarget, Inputs); TARGETS.len()] {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
        let inputs = |name: &str| {
            let inputs = std::fs::read_dir(corpus.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
            let mut inputs: Vec<PathBuf> = inputs.map(|entry| entry.unwrap().path()).collect();
            assert!(!inputs.is_empty(), "{name} has no corpus");
            inputs.sort();
            inputs.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
        };
        TARGETS.map(|(name, target)| (name, target, inputs(name)))
    }

    fn passes(target: FuzzTarget, bytes: &[u8]) -> bool {
        std::panic::catch_unwind(|| target(bytes)).is_ok()
    }

    #[test]
    fn every_input_of_the_corpus_passes() {
        for (_, target, inputs) in corpus() {
            for (path, bytes) in inputs {
                assert!(passes(target, &bytes), "{}", path.display());
            }
        }
    }

    /// Changes some bytes: sets, removes, repeats or inserts them, or takes them from another
    /// input.
    fn changed(random: &mut fastrand::Rng, bytes: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..random.usize(1..=4) {
            let from = random.usize(0..=bytes.len());
            let until = bytes.len().min(from + random.usize(0..=16));
            match random.u8(0..5) {
                0 => bytes[from..until].fill_with(|| random.u8(..)),
                1 => _ = bytes.drain(from..until),
                2 => _ = bytes.splice(from..from, bytes[from..until].to_vec()),
                3 => {
                    _ = bytes.splice(from..until, (0..random.usize(1..=16)).map(|_| random.u8(..)).collect::<Vec<_>>())
                }
                _ => {
                    let begin = random.usize(0..=other.len());
                    let end = other.len().min(begin + random.usize(0..=64));
                    _ = bytes.splice(from..until, other[begin..end].iter().copied());
                }
            }
        }
        bytes
    }

    /// What `.ci/fuzz` does for longer, and guided by the coverage. `FANFARE_TEST_SEED` repeats a
    /// run.
    #[test]
    fn inputs_that_are_like_those_of_the_corpus_pass() {
        let seed = std::env::var("FANFARE_TEST_SEED").ok().map(|seed| seed.parse().unwrap());
        let seed = seed.unwrap_or_else(|| fastrand::u64(..));
        let mut random = fastrand::Rng::with_seed(seed);
        for (name, target, inputs) in corpus() {
            for _ in 0..1_000 {
                let mut any = || &inputs[random.usize(0..inputs.len())].1;
                let (one, other) = (any(), any());
                let bytes = changed(&mut random, one, other);
                assert!(
                    passes(target, &bytes),
                    "FANFARE_TEST_SEED={seed}, {name}: {:?}",
                    bytes.escape_ascii().to_string()
                );
            }
        }
    }
}
