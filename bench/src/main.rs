//! Measures Fanfare against baselines of the same run: see `bench/README.md`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod bare;
mod broadcast;
mod calls;
mod channels;
mod cluster;
mod events;
mod foreign;
mod frontends;
mod http;
mod kills;
mod languages;
mod machine;
mod messages;
mod node;
mod paced;
mod program;
mod readme;
mod redis;
mod report;
mod resources;
mod rpc;
mod schedules;
mod served;
mod soak;
mod start;
mod streams;
mod swap;
mod websockets;

use report::Report;

/// How thorough a run is.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    pub rounds: usize,
    /// Divides the amount of work of every benchmark.
    pub divisor: u32,
    /// The number of swaps of the benchmark `soak`.
    pub swaps: u32,
    /// The number of kills of one worker of the benchmark `kills`.
    pub kills: u32,
}

type Bench = fn(Effort) -> Report;

const ALL: [(&str, Bench); 19] = [
    ("calls", calls::run),
    ("languages", languages::run),
    ("http", http::run),
    ("foreign", foreign::run),
    ("broadcast", broadcast::run),
    ("rpc", rpc::run),
    ("messages", messages::run),
    ("streams", streams::run),
    ("websockets", websockets::run),
    ("channels", channels::run),
    ("events", events::run),
    ("schedules", schedules::run),
    ("redis", redis::run),
    ("cluster", cluster::run),
    ("frontends", frontends::run),
    ("start", start::run),
    ("swap", swap::run),
    ("kills", kills::run),
    (SOAK, soak::run),
];

/// Runs only when it is named, because it takes many minutes.
const SOAK: &str = "soak";

const USAGE: &str =
    "usage: target/release/fanfare-bench [--quick] [--rounds N] [--swaps N] [--kills N] [--dry] [name..]
  names: calls, languages, http, foreign, broadcast, rpc, messages, streams, websockets, channels, events, schedules, redis, cluster, frontends, start, swap, kills, soak; without a name, all except soak
  --rounds: the number of rounds; default 5
  --swaps: the number of swaps of soak, at least 10; default 10000
  --kills: the number of kills, at least 8; default 1000
  --quick: one short round, to see that it works; writes no results
  --dry: writes no results";

fn main() {
    let mut effort = Effort { rounds: 5, divisor: 1, swaps: 10_000, kills: 1_000 };
    let (mut write, mut names) = (true, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // The bare server of the benchmark `http`, in a process of its own.
            "serve-bare" => return http::bare::serve(),
            // The client of the benchmark `foreign`, in a process of its own.
            "transfer" => return foreign::bodies::main(&arguments.collect::<Vec<_>>()),
            // The client of the benchmarks `swap`, `kills` and `soak`, in a process of its own.
            "paced" => return paced::main(&arguments.collect::<Vec<_>>()),
            // Servers and clients of the benchmarks `streams`, `websockets`, `channels` and
            // `events`, each in a process of its own.
            "stream-server" => return streams::server::main(&arguments.collect::<Vec<_>>()),
            "event-emitter" => return events::emitter::main(&arguments.collect::<Vec<_>>()),
            "echo-server" => return websockets::server::native(),
            "socket-client" => return websockets::client::main(&arguments.collect::<Vec<_>>()),
            "channel-members" => return channels::members::main(&arguments.collect::<Vec<_>>()),
            "stream-reader" => return streams::client::main(&arguments.collect::<Vec<_>>()),
            "--quick" => (effort, write) = (Effort { rounds: 1, divisor: 20, ..effort }, false),
            "--dry" => write = false,
            "--rounds" => {
                effort.rounds = arguments.next().and_then(|text| text.parse().ok()).filter(|n| *n > 0).expect(USAGE);
            }
            "--swaps" => {
                effort.swaps = arguments.next().and_then(|text| text.parse().ok()).filter(|n| *n >= 10).expect(USAGE);
            }
            "--kills" => {
                effort.kills = arguments.next().and_then(|text| text.parse().ok()).filter(|n| *n >= 8).expect(USAGE);
            }
            name if ALL.iter().any(|(known, _)| *known == name) => names.push(name.to_owned()),
            _ => {
                eprintln!("{USAGE}");
                std::process::exit(2);
            }
        }
    }
    let _alone = machine::alone();
    for (name, bench) in ALL {
        let wanted = if names.is_empty() { name != SOAK } else { names.iter().any(|wanted| wanted == name) };
        if !wanted {
            continue;
        }
        println!("\n{name}");
        let machine = machine::describe(effort.rounds);
        let report = bench(effort);
        if write {
            readme::write(&report, &machine);
        }
    }
}

/// Runs each measurement once in every round, so that other load on the machine affects all of
/// them. Returns one list of values for each measurement.
pub fn interleaved<const N: usize>(rounds: usize, mut each: [&mut dyn FnMut() -> f64; N]) -> [Vec<f64>; N] {
    let mut values = [const { Vec::new() }; N];
    for _ in 0..rounds {
        for (values, run) in values.iter_mut().zip(&mut each) {
            values.push(run());
        }
    }
    values
}

/// Returns the median.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
