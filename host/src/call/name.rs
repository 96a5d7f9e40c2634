use http::Method;

/// What a route may have, by name.
pub const METHODS: [Method; 5] = [Method::DELETE, Method::GET, Method::PATCH, Method::POST, Method::PUT];

/// A route as callers inside write it: `[METHOD ]module/path[?query]`, or `[METHOD ]module.path`, or, for the
/// caller's own module, `[METHOD ]/path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteName {
    pub method: Option<Method>,
    /// `None`: the caller's own.
    pub module: Option<String>,
    /// Without a leading slash; empty is the module's root.
    pub path: String,
    pub query: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteNameError {
    #[error("`{0}` names no module: write `module/path`, `module.path`, or `/path` for the caller's own")]
    NoModule(String),
    #[error("`{0}` is not a method: one of GET, POST, PUT, PATCH and DELETE, in capitals")]
    Method(String),
}

impl RouteName {
    pub fn parse(text: &str) -> Result<RouteName, RouteNameError> {
        let (method, rest) = split_method(text)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (module, path) = match path.split_once('/') {
            Some((module, path)) => (module, path.to_owned()),
            None => match path.split_once('.') {
                Some((module, path)) => (module, path.replace('.', "/")),
                None => (path, String::new()),
            },
        };
        if module.is_empty() && !rest.starts_with('/') {
            return Err(RouteNameError::NoModule(text.to_owned()));
        }
        let module = (!module.is_empty()).then(|| module.to_owned());
        Ok(RouteName { method, module, path, query: query.to_owned() })
    }
}

/// `[METHOD ]rest`.
fn split_method(text: &str) -> Result<(Option<Method>, &str), RouteNameError> {
    let Some((word, rest)) = text.split_once(' ') else {
        return Ok((None, text));
    };
    let method = METHODS.into_iter().find(|method| method.as_str() == word);
    Ok((Some(method.ok_or_else(|| RouteNameError::Method(word.to_owned()))?), rest))
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
        assert_eq!(parsed("chat"), (None, chat(), String::new(), String::new()));
    }

    #[test]
    fn a_leading_slash_is_the_own_module() {
        assert_eq!(parsed("/main/offline"), (None, None, "main/offline".into(), String::new()));
        assert_eq!(parsed("PUT /"), (Some(Method::PUT), None, String::new(), String::new()));
    }

    #[test]
    fn what_names_nothing_is_refused() {
        assert_eq!(RouteName::parse(""), Err(RouteNameError::NoModule(String::new())));
        assert_eq!(RouteName::parse(".main"), Err(RouteNameError::NoModule(".main".into())));
        assert_eq!(RouteName::parse("put chat/x"), Err(RouteNameError::Method("put".into())));
    }
}
