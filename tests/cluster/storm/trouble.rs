//! The faults. After each, the cluster is whole again, and each client has got something from each
//! node.

use std::fmt;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::books::{Allows, Doors, Shared};
use super::topology::{FRONTENDS, GUEST, NODES, Topology};
use crate::harness::Random;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    KillNode(usize),
    KillServer(usize),
    Cut(usize),
    Freeze(usize),
    Reload(usize),
    RestartAll,
}

impl fmt::Display for Fault {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::KillNode(index) => write!(to, "kill -9 of {}", NODES[*index]),
            Fault::KillServer(index) => write!(to, "kill -9 of NATS server {}", index + 1),
            Fault::Cut(index) => write!(to, "{} is cut off", NODES[*index]),
            Fault::Freeze(index) => write!(to, "{} is frozen", NODES[*index]),
            Fault::Reload(index) => write!(to, "rolling reload, asked for on {}", NODES[*index]),
            Fault::RestartAll => write!(to, "rolling restart of all nodes"),
        }
    }
}

impl Fault {
    fn allows(self) -> Allows {
        let (errors, timeouts, misses, silence, moves) = match self {
            // The clients of the other frontend notice nothing.
            Fault::KillNode(index) if index < FRONTENDS => (false, false, false, true, false),
            Fault::KillNode(_) => (true, false, true, true, true),
            Fault::KillServer(_) | Fault::Cut(_) | Fault::Freeze(_) => (true, true, true, true, true),
            Fault::Reload(_) => (false, false, false, false, false),
            // A frontend that stops is silent once its clients have left. A backend that has just
            // started pushes to the frontends that it has met (docs/sessions.md).
            Fault::RestartAll => (false, false, false, true, true),
        };
        Allows { errors, timeouts, misses, silence, moves }
    }
}

pub struct Trouble<'a> {
    pub topology: Topology,
    pub shared: &'a Shared,
    pub doors: Doors,
    pub home: watch::Sender<u64>,
    pub random: Random,
    /// The names of all clients, with what each gets in a round of probes.
    pub clients: Vec<(String, bool)>,
    pub rounds: u64,
    /// The longest time beyond `cluster.goneAfter` for which a node is frozen.
    pub longest_freeze: Duration,
}

impl Trouble<'_> {
    /// Makes a fault, and waits until the cluster is whole again. Returns how long that took.
    pub async fn make(&mut self, fault: Fault) -> Duration {
        let begun = Instant::now();
        self.shared.fault_begins(fault.allows());
        match fault {
            Fault::KillNode(index) => {
                self.shut(index);
                self.topology.kill(index).await;
                self.topology.run(index).await;
                self.open(index);
            }
            Fault::KillServer(index) => self.kill_server(index).await,
            Fault::Cut(index) => {
                self.topology.cut(index);
                self.is_missed(index).await;
                self.topology.mend(index);
            }
            Fault::Freeze(index) => {
                self.topology.freeze(index).await;
                self.is_missed(index).await;
                tokio::time::sleep(self.longest_freeze.mul_f64(self.random.below(100) as f64 / 100.0)).await;
                self.topology.thaw(index);
            }
            Fault::Reload(index) => self.topology.reload(index).await,
            Fault::RestartAll => self.restart_all().await,
        }
        self.whole().await;
        self.shared.fault_ends();
        self.home.send_modify(|home| *home += 1);
        begun.elapsed()
    }

    fn shut(&self, index: usize) {
        if index < FRONTENDS {
            self.doors.shut(index);
        }
    }

    fn open(&self, index: usize) {
        if index < FRONTENDS {
            self.doors.open(index);
        }
    }

    async fn is_missed(&self, index: usize) {
        let other = if index == NODES.len() - 1 { 0 } else { index + 1 };
        self.topology.becomes("another node misses it", async || self.topology.misses(other, index).await).await;
    }

    async fn kill_server(&mut self, index: usize) {
        self.topology.kill_server(index);
        match self.topology.nats.len() {
            1 => {
                for node in 0..NODES.len() {
                    self.topology.becomes("the node notices", async || self.topology.is_down(node).await).await;
                }
                self.topology.nats[index].run().await;
            }
            _ => {
                // The others carry on without it.
                self.whole().await;
                self.topology.nats[index].run().await;
                self.topology.becomes("the servers are whole", async || self.topology.servers_are_whole().await).await;
            }
        }
    }

    async fn restart_all(&mut self) {
        for index in (0..NODES.len()).rev() {
            self.shut(index);
            self.topology.stop(index).await;
            self.topology.run(index).await;
            self.open(index);
            let topology = &self.topology;
            topology.becomes("the cluster is whole", async || topology.is_whole().await).await;
        }
    }

    /// Waits until all nodes see each other, and each client gets messages of each backend.
    pub async fn whole(&mut self) {
        let topology = &self.topology;
        topology.becomes("the cluster is whole", async || topology.is_whole().await).await;
        self.rounds += 1;
        self.shared.clear_board();
        let probe = |index: usize| format!("probe {} {}", self.rounds, NODES[index]);
        topology
            .becomes("each client gets something of each backend", async || {
                let mut missing = Vec::new();
                for index in FRONTENDS..NODES.len() {
                    let wanted = probe(index);
                    let before = missing.len();
                    for (client, subscribes) in self.clients.iter().filter(|(_, subscribes)| *subscribes) {
                        if *subscribes && !self.shared.is_marked(client, &wanted) {
                            missing.push(format!("{client}: {wanted}"));
                        }
                    }
                    if missing.len() > before {
                        let path = format!("/v1/modules/{GUEST}/call?target=any&path=probe");
                        topology.operator(index, "POST", &path, &wanted).await.ok_or("the node does not answer")?;
                    }
                }
                for (client, _) in &self.clients {
                    let wanted = match client.as_bytes()[0] {
                        b'm' => "said",
                        b'p' => "noted",
                        _ => continue,
                    };
                    if !self.shared.is_marked(client, wanted) {
                        missing.push(format!("{client}: {wanted}"));
                    }
                }
                if missing.is_empty() { Ok(()) } else { Err(missing.join(", ")) }
            })
            .await;
    }
}
