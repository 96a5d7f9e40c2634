//! The next version of `snapshot`: another component, which loads the state that `snapshot` saved.

const BUILD: &str = "next";

include!("../../snapshot/src/guest.rs");
