//! The manifest names a handler that the component does not have.

use common::ok;

fanfare_sdk::module!(ok);
