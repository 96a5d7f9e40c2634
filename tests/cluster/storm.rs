//! Everything at once in a cluster: clients of SocketCluster, plain WebSockets and readers on two
//! frontends, their module on three backends, and NATS servers. Nodes and servers are killed, cut
//! off, frozen, reloaded and restarted under traffic. Each message is known, and compared with what
//! has run and arrived.
//!
//! The length, the seed and the size come from `FANFARE_TEST_SECONDS`, `FANFARE_TEST_SEED`,
//! `FANFARE_TEST_CLIENTS` and `FANFARE_TEST_SERVERS`. `.ci/long` runs it for an hour.

mod books;
mod checks;
mod clients;
mod log;
mod memory;
mod readers;
mod topology;
mod trouble;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::harness::{Random, test_duration, variable};
use books::{BEGUN, Doors, Shared};
use checks::{Checks, Past};
use clients::{Member, Order, Setting};
use memory::Memory;
use readers::{Plain, Reader};
use topology::{FRONTENDS, NODES, Topology};
use trouble::{Fault, Trouble};

/// The time after which a long run checks all that has happened since.
const CHAPTER: Duration = Duration::from_secs(240);

/// In a long run, these nodes end only in the rolling restarts, so that their memory tells whether
/// it grows.
const SURVIVORS: [usize; 2] = [0, 2];

/// The faults of a short run: one of each kind, in a random order.
fn each_once(random: &mut Random, servers: usize) -> Vec<Fault> {
    let mut any = |from: usize, to: usize| from + random.below((to - from) as u64) as usize;
    let mut left = vec![
        Fault::KillNode(any(0, FRONTENDS)),
        Fault::KillNode(any(FRONTENDS, NODES.len())),
        Fault::KillServer(any(0, servers)),
        Fault::Cut(any(0, NODES.len())),
        Fault::Freeze(any(0, NODES.len())),
        Fault::Reload(any(FRONTENDS, NODES.len())),
        Fault::RestartAll,
    ];
    let mut faults = Vec::new();
    while !left.is_empty() {
        faults.push(left.swap_remove(random.below(left.len() as u64) as usize));
    }
    faults
}

/// The next fault of a long run. `done` is the part of the run that is over.
fn next(random: &mut Random, servers: usize, done: f64) -> Fault {
    let node = |random: &mut Random| random.below(NODES.len() as u64) as usize;
    loop {
        let fault = match random.below(8) {
            0 | 1 => Fault::KillNode(node(random)),
            2 | 3 => Fault::KillServer(random.below(servers as u64) as usize),
            4 => Fault::Cut(node(random)),
            5 | 6 => Fault::Freeze(node(random)),
            _ => Fault::Reload(FRONTENDS + random.below((NODES.len() - FRONTENDS) as u64) as usize),
        };
        let is_spared = matches!(fault, Fault::KillNode(index) if SURVIVORS.contains(&index));
        if done < 0.2 || !is_spared {
            return fault;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_closed_while_everything_fails() {
    let seed = Random::seed();
    println!("FANFARE_TEST_SEED={seed}");
    let long = test_duration();
    let (members, readers) = (variable("FANFARE_TEST_CLIENTS").unwrap_or(6) as usize, 4);
    let servers = variable("FANFARE_TEST_SERVERS").unwrap_or(1);
    let Some(topology) = Topology::start(servers == 3, long.is_some()).await else { return };
    let (shared, doors) = (Arc::new(Shared::default()), Doors::new(topology.doors));
    let (order, ordered) = watch::channel(Order::Send);
    let (home, at_home) = watch::channel(0);
    let setting = Setting {
        shared: shared.clone(),
        doors: doors.clone(),
        order: ordered,
        home: at_home,
        pace: Duration::from_millis(100),
        is_at_once: topology.nats.len() == 1,
    };
    let mut tasks = JoinSet::new();
    topology.becomes("the cluster is whole", async || topology.is_whole().await).await;
    topology.copy_streams().await;
    let mut names = Vec::new();
    for index in 0..members {
        names.push((format!("m{index}"), true));
        tasks.spawn(Member::new(index, members, setting.clone()).run());
    }
    for index in 0..2 {
        names.push((format!("p{index}"), false));
        tasks.spawn(Plain { index, setting: setting.clone() }.run());
    }
    for index in 0..readers {
        names.push((format!("r{index}"), true));
        tasks.spawn(Reader { index, setting: setting.clone() }.run());
    }
    let mut random = Random::new(0);
    let servers = topology.nats.len();
    let mut trouble = Trouble {
        topology,
        shared: &shared,
        doors,
        home,
        random: Random::new(1),
        clients: names,
        rounds: 0,
        longest_freeze: if long.is_some() { Duration::from_secs(6) } else { Duration::ZERO },
    };
    trouble.whole().await;
    let (begun, mut past, mut memory) = (*BEGUN, Past::default(), Memory::new(long.is_some()));
    let (mut chapter, mut restarts, mut faults, mut counts) = (Instant::now(), 0, 0, [0; 3]);
    let mut planned = each_once(&mut random, servers);
    loop {
        let done = long.map_or(0.0, |long| begun.elapsed().as_secs_f64() / long.as_secs_f64());
        let fault = match long {
            _ if !planned.is_empty() => planned.pop(),
            None => None,
            // At a fifth of the time, and at its end.
            Some(_) if (restarts == 0 && done >= 0.2) || (restarts == 1 && done >= 1.0) => {
                restarts += 1;
                memory.assert_flat(&trouble.topology);
                Some(Fault::RestartAll)
            }
            Some(_) if done >= 1.0 => None,
            Some(_) => Some(next(&mut random, servers, done)),
        };
        if let Some(fault) = fault {
            let at = begun.elapsed();
            let took = tokio::select! {
                took = trouble.make(fault) => took,
                ended = tasks.join_next() => panic!("seed {seed}, during {fault}: a client has ended: {ended:?}"),
            };
            faults += 1;
            println!("{:7.1} s  {fault}: whole after {:.1} s", at.as_secs_f64(), took.as_secs_f64());
            memory.look(&trouble.topology);
        }
        if fault.is_none() || chapter.elapsed() > CHAPTER {
            order.send(Order::Rest).unwrap();
            let checks = Checks { topology: &trouble.topology, shared: &shared, members, readers };
            let rests = async || {
                let books = shared.books();
                let open = books.said.values().chain(books.noted.values()).filter(|message| !message.is_over()).count();
                drop(books);
                if open > 0 { Err(format!("{open} messages wait")) } else { checks.run(&past) }
            };
            tokio::select! {
                () = trouble.topology.becomes("the model is whole", rests) => {}
                ended = tasks.join_next() => panic!("seed {seed}: a client has ended: {ended:?}"),
            }
            checks.count(&mut counts);
            println!("{:7.1} s  checked: {}", begun.elapsed().as_secs_f64(), checks.summary(counts));
            checks.forget(&mut past);
            order.send(Order::Send).unwrap();
            chapter = Instant::now();
        }
        if fault.is_none() {
            break;
        }
    }
    memory.assert_flat(&trouble.topology);
    println!("{faults} faults");
    trouble.topology.assert_all_quiet();
    // The clients end before the frontends.
    tasks.shutdown().await;
}
