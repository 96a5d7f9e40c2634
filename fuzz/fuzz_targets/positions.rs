#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanfare::tooling::fuzzing::positions(bytes));
