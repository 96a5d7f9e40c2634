//! A program without a line for Fanfare, which does what its first argument says.

use std::process::{ExitCode, abort, exit};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, hint, io};

static RUNS: AtomicU32 = AtomicU32::new(0);

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().collect();
    let [_, what, rest @ ..] = arguments.as_slice() else {
        println!("{arguments:?}");
        return ExitCode::SUCCESS;
    };
    match what.as_str() {
        "arguments" => println!("{arguments:?}"),
        "count" => println!("run {}", RUNS.fetch_add(1, Ordering::Relaxed)),
        "variable" => println!("{:?}", env::var(&rest[0]).ok()),
        "input" => println!("read {:?}", io::read_to_string(io::stdin()).unwrap_or_default()),
        "fail" => return ExitCode::FAILURE,
        "exit" => exit(rest[0].parse().unwrap_or_default()),
        "abort" => abort(),
        "spin" => loop {
            hint::spin_loop();
        },
        _ => panic!("unknown: {what}"),
    }
    ExitCode::SUCCESS
}
