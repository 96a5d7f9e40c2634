//! What modules reach outside of the host, and what the operator grants of it.

mod values;
