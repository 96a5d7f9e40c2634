//! The page and its files.

use fanfare_sdk::prelude::*;

/// The page loads nothing from elsewhere, and connects only to its own host.
const POLICY: &str = "default-src 'none'; connect-src 'self'; img-src data:; script-src 'self'; style-src 'self'";

/// `GET ""`: the page.
#[handler]
pub fn page() -> Result<Reply> {
    file(include_str!("../page/index.html"), "text/html; charset=utf-8")
}

/// `GET style.css`
#[handler]
pub fn style() -> Result<Reply> {
    file(include_str!("../page/style.css"), "text/css; charset=utf-8")
}

/// `GET chat.js`
#[handler]
pub fn script() -> Result<Reply> {
    file(include_str!("../page/chat.js"), "text/javascript; charset=utf-8")
}

/// `GET connection.js`
#[handler]
pub fn connection_script() -> Result<Reply> {
    file(include_str!("../page/connection.js"), "text/javascript; charset=utf-8")
}

/// `GET room.js`
#[handler]
pub fn room_script() -> Result<Reply> {
    file(include_str!("../page/room.js"), "text/javascript; charset=utf-8")
}

fn file(content: &str, content_type: &str) -> Result<Reply> {
    let reply = Reply::new(content)?.with_header("content-type", content_type);
    Ok(reply.with_header("cache-control", "no-cache").with_header("content-security-policy", POLICY))
}
