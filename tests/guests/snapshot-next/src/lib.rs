//! `snapshot` as its next version: another component, which takes up what that one saved.

const BUILD: &str = "next";

include!("../../snapshot/src/guest.rs");
