//! Who may use the service: clients with its token, or any process of this machine.

use http::header::AUTHORIZATION;
use http::{HeaderMap, Uri};
use sha2::{Digest, Sha256};

use crate::triggers::http::ForeignRequest;

/// The fewest and the most bytes of a token.
const LENGTHS: std::ops::RangeInclusive<usize> = 16..=4_096;

/// The digest of a token. Comparing digests takes the same time wherever two tokens differ.
#[derive(Debug, Clone)]
pub struct Token([u8; 32]);

impl Token {
    /// The error says what is wrong with a token, and contains no part of it.
    pub fn new(token: &str) -> Result<Token, String> {
        if !LENGTHS.contains(&token.len()) || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            let (least, most) = LENGTHS.into_inner();
            return Err(format!(
                "the token must have {least} to {most} visible ASCII characters without spaces: make one with `openssl \
                 rand -hex 32`"
            ));
        }
        Ok(Token(digest(token.as_bytes())))
    }

    fn matches(&self, token: &[u8]) -> bool {
        let other = digest(token);
        self.0.iter().zip(other).fold(0, |difference, (one, other)| difference | (one ^ other)) == 0
    }
}

fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// Why a request is denied.
#[derive(Debug, thiserror::Error)]
pub(super) enum Denied {
    #[error(transparent)]
    Foreign(#[from] ForeignRequest),
    #[error("the request has no token: send `Authorization: Bearer <token>` with the token of the service")]
    NoToken,
    #[error("the token is not that of the service: send the token that its settings name")]
    WrongToken,
}

/// Checks a request. Without a token, the listener has a loopback address, and only browsers can
/// bring requests of others there.
pub(super) fn check(token: Option<&Token>, headers: &HeaderMap, uri: &Uri) -> Result<(), Denied> {
    let Some(token) = token else {
        return Ok(ForeignRequest::check(headers, uri)?);
    };
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(Denied::NoToken) };
    let (scheme, sent) = value.as_bytes().split_at_checked(7).ok_or(Denied::NoToken)?;
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return Err(Denied::NoToken);
    }
    match token.matches(sent.trim_ascii()) {
        true => Ok(()),
        false => Err(Denied::WrongToken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn checked(values: &[&str]) -> Result<(), Denied> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        check(Some(&Token::new(TOKEN).unwrap()), &headers, &Uri::from_static("/"))
    }

    #[test]
    fn only_the_token_is_admitted() {
        assert!(checked(&[&format!("Bearer {TOKEN}")]).is_ok());
        assert!(checked(&[&format!("bearer  {TOKEN} ")]).is_ok());
        for wrong in ["Bearer 0123456789abcdeF", "Bearer 0123456789abcde", "Bearer 0123456789abcdef0", "Bearer "] {
            assert!(matches!(checked(&[wrong]), Err(Denied::WrongToken)), "{wrong}");
        }
        for none in ["", "Bearer", "Basic 0123456789abcdef", TOKEN] {
            assert!(matches!(checked(&[none]), Err(Denied::NoToken)), "{none}");
        }
        assert!(matches!(checked(&[]), Err(Denied::NoToken)));
        let twice = format!("Bearer {TOKEN}");
        assert!(matches!(checked(&[&twice, &twice]), Err(Denied::NoToken)));
    }

    #[test]
    fn a_token_that_is_short_long_or_no_text_is_rejected_without_showing_it() {
        assert!(Token::new(&"x".repeat(16)).is_ok() && Token::new(&"x".repeat(4_096)).is_ok());
        for bad in [&"secret!".repeat(2), &"x".repeat(4_097), "secret with spaces in it", "sécret-sécret-sécret"] {
            let error = Token::new(bad).unwrap_err();
            assert!(error.contains("16 to 4096") && !error.contains("secret"), "{error}");
        }
    }
}
