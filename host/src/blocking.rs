//! Threads for work that waits for a disk or a name server, or that computes for long, so that the
//! threads of workers can serve meanwhile.
//!
//! The pools of tokio panic when the system allows no further thread. This one keeps its first
//! thread, so that work always finds one, and all hosts of a process share it.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use rustix::io::Errno;
use tokio::sync::oneshot;

/// The most threads of the pool. Further work waits for one of them.
pub const MAX_THREADS: usize = 512;

/// The time after which a thread without work ends, except the last one.
const IDLE: Duration = Duration::from_secs(10);

/// The longest that [`check_thread`] waits until the system no longer counts a thread that has
/// ended.
const UNCOUNTED: Duration = Duration::from_millis(200);

type Job = Box<dyn FnOnce() + Send>;

struct Pool {
    max: usize,
    state: Mutex<State>,
    queued: Condvar,
}

struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

static POOL: Pool = Pool::new(MAX_THREADS);

/// Starts the first thread, which never ends.
pub fn start() -> io::Result<()> {
    let mut state = POOL.state.lock();
    if state.threads == 0 { POOL.spawn(&mut state) } else { Ok(()) }
}

/// Runs work on a thread of the pool. Without [`start`], and if the system allows no thread, the
/// work runs on this one.
pub async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, outcome) = oneshot::channel();
    let job = Box::new(move || {
        // The receiver is gone if nobody waits for the work any more.
        _ = sender.send(catch_unwind(AssertUnwindSafe(work)));
    });
    if let Err(job) = POOL.submit(job) {
        job();
    }
    match outcome.await {
        Ok(Ok(done)) => done,
        Ok(Err(panic)) => resume_unwind(panic),
        // A job always sends its outcome.
        Err(_) => std::future::pending().await,
    }
}

/// Returns how to mend the error of a thread that could not be started, as the end of a sentence.
pub fn remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::AGAIN) => {
            "; the system allows this process no further thread: raise `ulimit -u`, TasksMax of the service or pids.max \
             of the container, or set fewer workers and brokers"
        }
        Some(Errno::MFILE | Errno::NFILE) => "; raise `ulimit -n`, or set fewer workers and brokers",
        Some(Errno::NOMEM) => "; free memory, or set fewer workers and brokers",
        _ => "",
    }
}

/// Fails if the system allows no further thread now. For crates that panic in this case.
pub fn check_thread() -> io::Result<()> {
    // `<process>/task/<thread>`
    let name = || fs::read_link("/proc/thread-self");
    let thread = thread::Builder::new().name("check".to_owned()).spawn(name)?;
    let Ok(Ok(name)) = thread.join() else { return Ok(()) };
    let task = Path::new("/proc").join(name);
    let until = Instant::now() + UNCOUNTED;
    while task.exists() && Instant::now() < until {
        thread::yield_now();
    }
    Ok(())
}

impl Pool {
    const fn new(max: usize) -> Pool {
        let state = State { jobs: VecDeque::new(), threads: 0, idle: 0 };
        Pool { max, state: Mutex::new(state), queued: Condvar::new() }
    }

    /// Queues a job, or returns it if no thread can run it.
    fn submit(&'static self, job: Job) -> Result<(), Job> {
        let mut state = self.state.lock();
        state.jobs.push_back(job);
        if state.idle >= state.jobs.len() {
            self.queued.notify_one();
        } else if state.threads < self.max && self.spawn(&mut state).is_err() && state.threads == 0 {
            return state.jobs.pop_back().map_or(Ok(()), Err);
        }
        Ok(())
    }

    fn spawn(&'static self, state: &mut State) -> io::Result<()> {
        thread::Builder::new().name("blocking".to_owned()).spawn(|| self.run())?;
        state.threads += 1;
        Ok(())
    }

    fn run(&self) {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                MutexGuard::unlocked(&mut state, job);
                continue;
            }
            state.idle += 1;
            let waited = self.queued.wait_for(&mut state, IDLE);
            state.idle -= 1;
            if waited.timed_out() && state.jobs.is_empty() && state.threads > 1 {
                state.threads -= 1;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    static SMALL: Pool = Pool::new(2);

    fn job(started: &Sender<()>, until: Receiver<()>) -> Job {
        let started = started.clone();
        Box::new(move || {
            started.send(()).unwrap();
            _ = until.recv();
        })
    }

    #[test]
    fn work_beyond_the_most_threads_waits_for_one_of_them() {
        let ((started, starts), mut ends) = (channel(), Vec::new());
        for _ in 0..3 {
            let (end, until) = channel::<()>();
            ends.push(end);
            assert!(SMALL.submit(job(&started, until)).is_ok());
        }
        (0..2).for_each(|_| starts.recv().unwrap());
        {
            let state = SMALL.state.lock();
            assert_eq!((state.threads, state.jobs.len()), (2, 1));
        }
        ends.remove(0);
        starts.recv().unwrap();
        assert_eq!(SMALL.state.lock().threads, 2);
    }

    #[tokio::test]
    async fn a_panic_of_the_work_reaches_its_caller_and_ends_no_thread() {
        let failed = tokio::spawn(run_blocking(|| panic!("on purpose"))).await;
        assert!(failed.unwrap_err().is_panic());
        assert_eq!(run_blocking(|| 1).await, 1);
    }
}
