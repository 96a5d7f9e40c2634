//! The header `Accept` of a request for a stream (RFC 9110, 12.5.1).

use http::HeaderMap;
use http::header::ACCEPT;

/// What a client says about responses with the type `text/event-stream`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::triggers) enum Accepts {
    /// It names the type, as `EventSource` does.
    Named,
    /// It accepts every type, or every text.
    Any,
    No,
}

impl Accepts {
    /// The most specific media range that matches decides, whatever its place in the list.
    pub(in crate::triggers) fn of(headers: &HeaderMap) -> Accepts {
        let mut found = None;
        for value in headers.get_all(ACCEPT) {
            // A value that is not text names no type.
            for range in value.to_str().unwrap_or("-").split(',') {
                let mut parts = range.split(';').map(str::trim);
                let name = parts.next().unwrap_or_default();
                let precision = match name {
                    _ if name.eq_ignore_ascii_case("text/event-stream") => 2,
                    _ if name.eq_ignore_ascii_case("text/*") => 1,
                    "*/*" => 0,
                    "" => continue,
                    _ => {
                        found = found.or(Some((None, false)));
                        continue;
                    }
                };
                let accepted = !parts.any(is_zero);
                if found.is_none_or(|(other, _)| Some(precision) > other) {
                    found = Some((Some(precision), accepted));
                }
            }
        }
        match found {
            None | Some((Some(0 | 1), true)) => Accepts::Any,
            Some((Some(_), true)) => Accepts::Named,
            Some(_) => Accepts::No,
        }
    }
}

/// Whether a parameter is a quality of 0, which means "not acceptable".
fn is_zero(parameter: &str) -> bool {
    let value = parameter.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    value.is_some_and(|(_, value)| value.trim().parse::<f32>().is_ok_and(|quality| quality <= 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_range_that_matches_decides() {
        use Accepts::{Any, Named, No};
        for (values, expected) in [
            (&[][..], Any),
            (&[""], Any),
            (&["*/*"], Any),
            (&["text/*"], Any),
            (&["text/event-stream"], Named),
            (&["Text/Event-Stream; charset=utf-8"], Named),
            (&["text/event-stream;q=0.1"], Named),
            (&["application/json, text/event-stream"], Named),
            (&["application/json", "text/event-stream"], Named),
            (&["application/json, */*;q=0.1"], Any),
            (&["*/*, text/event-stream;q=0"], No),
            (&["text/event-stream;q=0.000, */*"], No),
            (&["text/* ; Q = 0, */*"], No),
            (&["text/*;q=0, text/event-stream"], Named),
            (&["*/*;q=0"], No),
            (&["*/*;q=0, text/*"], Any),
            (&["application/json"], No),
            (&["text/html, application/xhtml+xml"], No),
            (&["text/event-streams"], No),
            (&["\u{e4}"], No),
            (&[";;;,,,q=0"], No),
            (&["text/event-stream;q=x"], Named),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(ACCEPT, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            assert_eq!(Accepts::of(&headers), expected, "{values:?}");
        }
    }
}
