use std::fmt;

use http::Method;

use super::bounds;
use super::text::{NAME, line};

/// The longest path below a module in bytes, in manifests, requests and calls.
pub const MAX_PATH: usize = 4_096;

/// The most segments of a path. It bounds the depth of routers, because a lookup recurses once per
/// segment.
pub const MAX_SEGMENTS: usize = 64;

/// The methods that a route may have.
pub const METHODS: [Method; 5] = [Method::DELETE, Method::GET, Method::PATCH, Method::POST, Method::PUT];

/// A route as guests and the operator write it: `[METHOD ]module/path[?query]` or
/// `[METHOD ]module.path`. For the caller's own module, `[METHOD ]/path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteName {
    pub method: Option<Method>,
    /// The module. `None` means the caller's own.
    pub module: Option<String>,
    /// The path without a leading slash. Empty for the module's root.
    pub path: String,
    pub query: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteNameError {
    #[error("`{0}` has no module name: write `module/path`, `module.path`, or `/path` for the caller's own module")]
    NoModule(String),
    #[error("`{0}` has a dot in the name of its module: separate all parts with slashes or with dots, not with both")]
    Mixed(String),
    #[error("`{0}` is not a method: write GET, POST, PUT, PATCH or DELETE, in capitals")]
    Method(String),
    #[error("the path has {0} bytes: at most {MAX_PATH} are allowed")]
    Long(usize),
    #[error("the path has {0} segments: at most {MAX_SEGMENTS} are allowed")]
    Deep(usize),
}

impl RouteName {
    pub fn parse(text: &str) -> Result<RouteName, RouteNameError> {
        let (method, rest) = split_method(text)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (module, path, separator) = match (path.split_once('/'), path.split_once('.')) {
            (Some((module, path)), _) => (module, path, '/'),
            (None, Some((module, path))) => (module, path, '.'),
            (None, None) => (path, "", '/'),
        };
        if module.contains('.') {
            return Err(RouteNameError::Mixed(line(text, NAME)));
        }
        if path.len() > MAX_PATH {
            bounds::PATH.count();
            return Err(RouteNameError::Long(path.len()));
        }
        let segments = path.split(separator).count();
        if segments > MAX_SEGMENTS {
            bounds::PATH.count();
            return Err(RouteNameError::Deep(segments));
        }
        let path = path.replace(separator, "/");
        if module.is_empty() && !rest.starts_with('/') {
            return Err(RouteNameError::NoModule(line(text, NAME)));
        }
        let module = (!module.is_empty()).then(|| module.to_owned());
        Ok(RouteName { method, module, path, query: query.to_owned() })
    }
}

impl RouteName {
    /// Parses `[METHOD ]path[?query]` below a module. A slash at the beginning of the path is
    /// allowed.
    pub fn within(module: &str, text: &str) -> Result<RouteName, RouteNameError> {
        let (method, path) = text.split_once(' ').map_or((None, text), |(method, path)| (Some(method), path));
        let below = format!("/{}", path.trim_start_matches('/'));
        let name = RouteName::parse(&method.map_or(below.clone(), |method| format!("{method} {below}")))?;
        Ok(RouteName { module: Some(module.to_owned()), ..name })
    }

    /// The method and the path, as a manifest writes them.
    pub fn text_within(&self) -> String {
        let method = self.method.as_ref().map(|method| format!("{method} ")).unwrap_or_default();
        format!("{method}{}", self.path)
    }
}

/// Writes the text that [`RouteName::parse`] reads.
impl fmt::Display for RouteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RouteName { method, module, path, query } = self;
        if let Some(method) = method {
            write!(f, "{method} ")?;
        }
        write!(f, "{}/{path}", module.as_deref().unwrap_or_default())?;
        if query.is_empty() { Ok(()) } else { write!(f, "?{query}") }
    }
}

/// Splits `[METHOD ]rest`.
fn split_method(text: &str) -> Result<(Option<Method>, &str), RouteNameError> {
    let Some((word, rest)) = text.split_once(' ') else {
        return Ok((None, text));
    };
    let method = METHODS.into_iter().find(|method| method.as_str() == word);
    Ok((Some(method.ok_or_else(|| RouteNameError::Method(line(word, NAME)))?), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Option<Method>, Option<String>, String, String) {
        let name = RouteName::parse(text).unwrap();
        (name.method, name.module, name.path, name.query)
    }

    #[test]
    fn dots_and_slashes_name_the_same_route() {
        let chat = || Some("chat".to_owned());
        assert_eq!(parsed("chat.main.offline"), (None, chat(), "main/offline".into(), String::new()));
        assert_eq!(parsed("chat/main/offline"), (None, chat(), "main/offline".into(), String::new()));
        assert_eq!(parsed("chat/v1.2"), (None, chat(), "v1.2".into(), String::new()));
        assert_eq!(parsed("GET chat/x?a=1/2"), (Some(Method::GET), chat(), "x".into(), "a=1/2".into()));
        let mixed = RouteName::parse("chat.main/offline").unwrap_err();
        assert!(mixed.to_string().contains("slashes or with dots"), "{mixed}");
        assert_eq!(parsed("chat"), (None, chat(), String::new(), String::new()));
    }

    #[test]
    fn a_route_within_a_module_may_have_a_method_a_slash_and_a_query() {
        let within = |text: &str| RouteName::within("m", text).unwrap().to_string();
        assert_eq!(
            ["a/b", "/a/b", "GET a/b?c=d", "PUT /a.b", "", "/"].map(within),
            ["m/a/b", "m/a/b", "GET m/a/b?c=d", "PUT m/a.b", "m/", "m/"]
        );
        assert!(RouteName::within("m", "FETCH a").is_err());
        assert!(RouteName::within("m", &"a".repeat(MAX_PATH + 1)).is_err());
    }

    #[test]
    fn a_leading_slash_means_the_callers_own_module() {
        assert_eq!(parsed("/main/offline"), (None, None, "main/offline".into(), String::new()));
        assert_eq!(parsed("PUT /"), (Some(Method::PUT), None, String::new(), String::new()));
    }

    #[test]
    fn the_length_and_depth_of_a_path_are_bounded() {
        let long = "a".repeat(MAX_PATH);
        assert!(RouteName::parse(&format!("chat/{long}?{long}")).is_ok());
        assert_eq!(RouteName::parse(&format!("chat/{long}a")), Err(RouteNameError::Long(MAX_PATH + 1)));
        for separator in ["/", "."] {
            let deep = vec!["a"; MAX_SEGMENTS].join(separator);
            assert!(RouteName::parse(&format!("chat{separator}{deep}")).is_ok());
            let deeper = RouteName::parse(&format!("chat{separator}{deep}{separator}a"));
            assert_eq!(deeper, Err(RouteNameError::Deep(MAX_SEGMENTS + 1)));
        }
    }

    #[test]
    fn a_route_without_a_module_or_with_a_wrong_method_is_rejected() {
        assert_eq!(RouteName::parse(""), Err(RouteNameError::NoModule(String::new())));
        assert_eq!(RouteName::parse(".main"), Err(RouteNameError::NoModule(".main".into())));
        assert_eq!(RouteName::parse("put chat/x"), Err(RouteNameError::Method("put".into())));
    }
}
