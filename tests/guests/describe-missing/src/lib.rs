//! Its manifest names a handler that it does not have.

use common::ok;

fanfare_sdk::module!(ok);
