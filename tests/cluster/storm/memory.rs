//! The memory of all processes over time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::topology::Topology;

/// No process ever has more memory than this.
const MOST: u64 = 400 << 20;

#[derive(Debug, Clone, Copy)]
struct Figure {
    age: Duration,
    bytes: u64,
}

pub struct Memory {
    /// The age at which a process has warmed up.
    warm_up: Duration,
    /// The first figure of each process when it was warm, and the present one.
    warm: BTreeMap<String, Figure>,
    now: BTreeMap<String, Figure>,
}

impl Memory {
    /// In a short run, a process is warm when it has served its first calls.
    pub fn new(is_long: bool) -> Memory {
        let warm_up = if is_long { Duration::from_secs(300) } else { Duration::ZERO };
        Memory { warm_up, warm: BTreeMap::new(), now: BTreeMap::new() }
    }

    pub fn look(&mut self, topology: &Topology) {
        for (name, age, bytes) in topology.memory() {
            assert!(bytes < MOST, "{name} has {bytes} bytes of memory");
            let figure = Figure { age, bytes };
            if self.now.insert(name.clone(), figure).is_some_and(|last| last.age > age) {
                // Its process was replaced.
                self.warm.remove(&name);
            }
            if age >= self.warm_up {
                self.warm.entry(name).or_insert(figure);
            }
        }
    }

    /// Asserts that each process has about the memory that it had when it was warm.
    pub fn assert_flat(&mut self, topology: &Topology) {
        self.look(topology);
        for (name, Figure { age, bytes }) in &self.now {
            let warm = self.warm.get(name);
            let told = warm.map(|warm| format!(", {:.1} MiB after {:.1} s", mib(warm.bytes), warm.age.as_secs_f64()));
            println!(
                "           {name}: {:.1} MiB after {:.1} s{}",
                mib(*bytes),
                age.as_secs_f64(),
                told.unwrap_or_default()
            );
            let most = warm.map_or(MOST, |warm| warm.bytes + warm.bytes / 4 + (8 << 20));
            assert!(*bytes <= most, "the memory of {name} grows: {bytes} bytes, at most {most} are expected");
        }
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
