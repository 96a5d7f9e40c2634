//! The page for developers at `/`, in the environments `dev` and `development` only. It lists the
//! modules with forms that call their routes and emit their broadcasts.
//!
//! - `GET /`: the page, which works without JavaScript, but then has no forms
//! - `GET /developer/page.css`, `GET /developer/page.js`: its style and its script
//! - `GET /developer/docs/<page>.md`: the documentation of this version, as text, with
//!   `/developer/docs/` as its index; `GET /developer/wit/README.md` and others to which it links
//! - `POST /developer/modules/<module>/broadcasts/<name>`: emits the body as a broadcast; returns
//!   one entry for each worker
//!
//! The HTTP listener has no login. So only a browser on this machine may emit, and only it sees
//! notices, grants and errors ([`local`]).

mod docs;
mod guide;
mod local;
mod model;
mod page;

use std::sync::Arc;
use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method};

pub use model::{DeveloperModule, DeveloperRoute, DeveloperSchedule, Results};

use super::http::{HostRequest, HostRoute, HttpResponse, OwnOrigin, ProblemResponse, allow, json, options};
use crate::api;
use crate::call::{CallError, Emission, GatherEntry, Payload};
use crate::config::{Config, is_development, opens_test_routes};
use crate::registry::segment::decode_segment;

/// The page has no other origin than this host, and its forms send requests only through its
/// script. A developer may open WebSockets of this host in the console of the browser.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; \
    frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

const HTML: &str = "text/html; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// The interface through which the page uses the worker that owns the connection.
pub trait DeveloperBackend: Clone + Send + Sync + 'static {
    /// Lists the modules. `test_routes` says whether routes with the middleware `test` are open.
    fn modules(&self, test_routes: bool) -> Vec<DeveloperModule>;

    /// Lists the problems of the host itself, such as components that no module loads.
    fn notices(&self) -> Vec<String>;

    /// Emits a broadcast as the operator, and waits for an entry from every worker.
    fn emit(
        &self,
        emission: Emission,
        payload: Payload,
        timeout: Duration,
    ) -> impl Future<Output = Result<Vec<GatherEntry>, CallError>> + Send;
}

/// The page for developers.
pub struct Developer {
    test_routes: bool,
    /// Whether the page is at `/` too. Otherwise a module serves that path.
    at_root: bool,
    /// The most bytes of the payload of a broadcast: `http.maxBody`.
    max_body: u64,
    /// How long the page waits for the workers that handle a broadcast: `limits.max.timeout`.
    timeout: Duration,
    results: ReadResults,
}

/// Returns what schedules and subscriptions have done.
pub type ReadResults = Box<dyn Fn() -> Results + Send + Sync>;

/// What a path below `/` names.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Page,
    File {
        content_type: &'static str,
        text: &'static str,
    },
    /// A page of the documentation, in Markdown.
    Guide {
        path: String,
        text: &'static str,
    },
    Broadcast {
        module: String,
        name: String,
    },
}

impl Developer {
    /// Returns `None` if the environment has no page for developers.
    pub fn new(config: &Config, results: ReadResults) -> Option<Developer> {
        is_development(&config.environment).then(|| Developer {
            test_routes: opens_test_routes(&config.environment),
            at_root: config.http.mount.is_none(),
            max_body: config.http.max_body,
            timeout: config.limits.max.timeout,
            results,
        })
    }

    /// Returns the route if a path is one of the page.
    pub fn route<B: DeveloperBackend>(self: &Arc<Developer>, path: &str, backend: &B) -> Option<HostRoute> {
        let wanted = Wanted::of(path).filter(|_| path != "/" || self.at_root)?;
        let (developer, backend) = (self.clone(), backend.clone());
        Some(Box::new(move |request| {
            Box::pin(async move {
                let trace = request.trace;
                let answered = developer.answer(wanted, request, &backend).await;
                let mut response = answered.unwrap_or_else(|problem| problem.with_trace(trace).into_response());
                // `http.cors` is for the routes of modules.
                response.extensions_mut().insert(OwnOrigin);
                let headers = response.headers_mut();
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
                headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
                headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
                response
            })
        }))
    }

    async fn answer<B: DeveloperBackend>(
        &self,
        wanted: Wanted,
        request: HostRequest,
        backend: &B,
    ) -> Result<HttpResponse, ProblemResponse> {
        let method = if matches!(wanted, Wanted::Broadcast { .. }) { Method::POST } else { Method::GET };
        match &request.method {
            &Method::OPTIONS => return Ok(options(allow(&[method]))),
            &Method::HEAD if method == Method::GET => {}
            asked if *asked == method => {}
            asked => return Err(ProblemResponse::method_not_allowed(asked, &[method])),
        }
        match wanted {
            Wanted::Page => {
                let origin = format!("{}://{}", request.scheme, request.authority);
                let is_local = local::check(&request).is_ok();
                let (mut modules, results) = (backend.modules(self.test_routes), (self.results)());
                modules.iter_mut().for_each(|module| results.add_to(module));
                Ok(document(HTML, page::html(&modules, &backend.notices(), &origin, is_local)))
            }
            Wanted::File { content_type, text } => Ok(document(content_type, text.to_owned())),
            Wanted::Guide { path, text } => Ok(document(HTML, guide::html(&path, text))),
            Wanted::Broadcast { module, name } => {
                local::check(&request).map_err(|why| ProblemResponse::forbidden(why.to_string()))?;
                let payload = Payload::guess(request.body.read(self.max_body, "http.maxBody").await?);
                let emission = Emission { module: Some(module), name, ..Emission::default() };
                let entries = backend.emit(emission, payload, self.timeout).await.map_err(ProblemResponse::of_call)?;
                let entries: Vec<_> = entries.into_iter().map(api::GatherEntry::from).collect();
                // Serialising cannot fail: the entries contain only strings, numbers and JSON.
                Ok(json(serde_json::to_string(&entries).unwrap_or_default()))
            }
        }
    }
}

impl Wanted {
    fn of(path: &str) -> Option<Wanted> {
        let rest = match path {
            "/" | "/developer" | "/developer/" => return Some(Wanted::Page),
            _ => path.strip_prefix("/developer/")?,
        };
        if let Some(text) = docs::text(rest) {
            // Pages link to files of code, too.
            let is_code = rest.ends_with(".rs");
            return Some(if is_code {
                Wanted::File { content_type: PLAIN, text }
            } else {
                Wanted::Guide { path: rest.to_owned(), text }
            });
        }
        let decode = |text: &str| decode_segment(text).map(|text| text.into_owned());
        match *rest.split('/').collect::<Vec<_>>().as_slice() {
            ["page.css"] => {
                Some(Wanted::File { content_type: "text/css; charset=utf-8", text: include_str!("developer/page.css") })
            }
            ["page.js"] => Some(Wanted::File {
                content_type: "text/javascript; charset=utf-8",
                text: include_str!("developer/page.js"),
            }),
            ["modules", module, "broadcasts", name] => {
                Some(Wanted::Broadcast { module: decode(module)?, name: decode(name)? })
            }
            _ => None,
        }
    }
}

fn document(content_type: &'static str, text: String) -> HttpResponse {
    let mut response = HttpResponse::new(text.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn only_environments_for_development_have_the_page() {
        let mut config = Config::defaults(Path::new("/")).unwrap();
        for (environment, has_page) in [("dev", true), ("development", true), ("test", false), ("production", false)] {
            environment.clone_into(&mut config.environment);
            let developer = Developer::new(&config, Box::new(Results::default));
            assert_eq!(developer.is_some(), has_page, "{environment}");
        }
    }

    #[test]
    fn a_path_names_the_page_a_file_or_a_broadcast() {
        for path in ["/", "/developer", "/developer/"] {
            assert_eq!(Wanted::of(path), Some(Wanted::Page));
        }
        let broadcast = Wanted::Broadcast { module: "flags".into(), name: "a/b".into() };
        assert_eq!(Wanted::of("/developer/modules/flags/broadcasts/a%2Fb"), Some(broadcast));
        for path in ["/developer/page.css", "/developer/page.js", "/developer/modules/limiter/src/lib.rs"] {
            assert!(matches!(Wanted::of(path), Some(Wanted::File { .. })), "{path}");
        }
        for path in ["/developer/docs/", "/developer/docs/events.md", "/developer/wit/README.md"] {
            assert!(matches!(Wanted::of(path), Some(Wanted::Guide { .. })), "{path}");
        }
        for path in [
            "",
            "/x",
            "/developer/docs/none.md",
            "/developer/docs/../page.js",
            "/developer/modules/flags/broadcasts/%ff",
            "/developer/modules/flags/broadcasts/a/b",
            "/developer/modules/flags/call",
        ] {
            assert_eq!(Wanted::of(path), None, "{path}");
        }
    }
}
