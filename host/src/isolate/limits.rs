//! The only place that knows ticks, fuel and bytes of a store.

use std::collections::HashMap;
use std::time::Duration;

use wasmtime::component::GuestTaskId;
use wasmtime::{ResourceLimiter, StoreContextMut, UpdateDeadline};

use super::state::State;
use crate::config::Limits;

/// What a store has taken of memory and tables, and what it was refused.
#[derive(Debug)]
pub struct Taken {
    memory: usize,
    memory_limit: usize,
    tables: usize,
    tables_limit: usize,
    refused: Option<&'static str>,
}

impl Taken {
    pub fn new(limits: &Limits) -> Taken {
        Taken {
            memory: 0,
            memory_limit: usize::try_from(limits.memory).unwrap_or(usize::MAX),
            tables: 0,
            tables_limit: limits.tables as usize,
            refused: None,
        }
    }

    /// The limit that was reached, if one was: often the reason of the trap that follows.
    pub fn refused(&self) -> Option<&'static str> {
        self.refused
    }

    /// Bytes of all linear memories together.
    pub fn memory(&self) -> usize {
        self.memory
    }
}

impl ResourceLimiter for Taken {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.memory.saturating_add(desired.saturating_sub(current));
        if total > self.memory_limit {
            self.refused = Some("limits.memory");
            return Ok(false);
        }
        self.memory = total;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.tables.saturating_add(desired.saturating_sub(current));
        if total > self.tables_limit {
            self.refused = Some("limits.tables");
            return Ok(false);
        }
        self.tables = total;
        Ok(true)
    }
}

/// The processor time of calls, counted in epoch ticks: a call is charged with each tick that finds it running.
#[derive(Debug)]
pub struct Cpu {
    budget: u32,
    used: HashMap<Option<GuestTaskId>, u32>,
    exceeded: bool,
}

impl Cpu {
    /// `budget` is rounded up to whole ticks, plus the one that is under way when a call starts.
    pub fn new(budget: Duration, tick: Duration) -> Cpu {
        let ticks = budget.as_nanos().div_ceil(tick.as_nanos().max(1)) + 1;
        Cpu { budget: u32::try_from(ticks).unwrap_or(u32::MAX), used: HashMap::new(), exceeded: false }
    }

    /// Whether some call used up its budget, so that the instance was interrupted.
    pub fn exceeded(&self) -> bool {
        self.exceeded
    }

    pub fn forget(&mut self, task: GuestTaskId) {
        if !self.used.is_empty() {
            self.used.remove(&Some(task));
        }
    }

    fn charge(&mut self, task: Option<GuestTaskId>) -> UpdateDeadline {
        let used = self.used.entry(task).or_default();
        *used += 1;
        if *used > self.budget {
            self.exceeded = true;
            return UpdateDeadline::Interrupt;
        }
        UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now()))
    }
}

/// Puts all limits on a new store.
pub fn apply(store: &mut wasmtime::Store<State>, limits: &Limits) {
    store.limiter(|state| &mut state.taken);
    store.set_hostcall_fuel(usize::try_from(limits.hostcall_fuel).unwrap_or(usize::MAX));
    store.set_max_component_handles(limits.handles as usize);
    charge_calls(store, |state| &mut state.cpu);
}

fn charge_calls<T: 'static>(store: &mut wasmtime::Store<T>, cpu: fn(&mut T) -> &mut Cpu) {
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |mut cx: StoreContextMut<'_, T>| {
        // The last one is the call that the host made; those before it are of components within the component.
        let task = cx.async_call_stack().ok().and_then(Iterator::last);
        Ok(cpu(cx.data_mut()).charge(task))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component of two: `run` of the outer one calls `spin` of the inner one, which lets so many ticks go by.
    fn composed(of_type: &str, inner: &str) -> Vec<u8> {
        let text = format!(
            r#"(component
              (import "tick" (func $tick))
              (component $inner
                (import "tick" (func $tick))
                (core func $ticks (canon lower (func $tick)))
                (core func $return (canon task.return))
                (core module $m
                  (import "" "tick" (func $tick))
                  (import "" "return" (func $return))
                  (func $spin (export "block") (param $n i32)
                    (loop $again
                      (call $tick)
                      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                      (br_if $again (local.get $n))))
                  (func (export "start") (param i32) (result i32)
                    (call $spin (local.get 0))
                    (call $return)
                    (i32.const 0))
                  (func (export "callback") (param i32 i32 i32) (result i32) unreachable))
                (core instance $with (export "tick" (func $ticks)) (export "return" (func $return)))
                (core instance $i (instantiate $m (with "" (instance $with))))
                (func (export "spin") {of_type} (param "n" u32) (canon lift (core func $i {inner}))))
              (component $outer
                (import "spin" (func $spin {of_type} (param "n" u32)))
                (core func $spins (canon lower (func $spin)))
                (core module $m
                  (import "" "spin" (func $spin (param i32)))
                  (func (export "run") (param i32) (call $spin (local.get 0))))
                (core instance $i (instantiate $m (with "" (instance (export "spin" (func $spins))))))
                (func (export "run") {of_type} (param "n" u32) (canon lift (core func $i "run"))))
              (instance $inside (instantiate $inner (with "tick" (func $tick))))
              (instance $made (instantiate $outer (with "spin" (func $inside "spin"))))
              (export "run" (func $made "run")))"#
        );
        wat::parse_str(text).unwrap()
    }

    /// Runs a call of so many ticks with a budget of ten; whether it ended, and that nobody but it was charged.
    async fn runs(component: &[u8], ticks: u32) -> bool {
        // Its own ticks are far away.
        let engine = crate::engine::Engine::start(Duration::from_secs(3600), u64::MAX).unwrap();
        let mut linker = wasmtime::component::Linker::new(engine.wasmtime());
        let tick = |cx: StoreContextMut<'_, Cpu>, ()| {
            cx.engine().increment_epoch();
            Ok(())
        };
        linker.root().func_wrap("tick", tick).unwrap();
        let component = wasmtime::component::Component::new(engine.wasmtime(), component).unwrap();
        let cpu = Cpu::new(Duration::from_millis(9), Duration::from_millis(1));
        let mut store = wasmtime::Store::new(engine.wasmtime(), cpu);
        charge_calls(&mut store, |cpu| cpu);
        let instance = linker.instantiate_async(&mut store, &component).await.unwrap();
        let run = instance.get_typed_func::<(u32,), ()>(&mut store, "run").unwrap();
        let mut task = None;
        let ended = store
            .run_concurrent(async |accessor| {
                let call = accessor.with(|access| run.start_call_concurrent(access, (ticks,)))?;
                task = Some(call.task());
                run.finish_call_concurrent(accessor, call).await
            })
            .await
            .and_then(|ended| ended);
        let cpu = store.data();
        assert_eq!(ended.is_err(), cpu.exceeded(), "{ended:?}");
        assert_eq!(cpu.used.keys().collect::<Vec<_>>(), [&task], "the host's call alone is charged");
        ended.is_ok()
    }

    #[tokio::test]
    async fn the_call_of_the_host_pays_for_components_within_the_component() {
        for (of_type, inner) in [("", "\"block\""), ("async", "\"start\") async (callback (core func $i \"callback\")")]
        {
            let component = composed(of_type, inner);
            assert!(runs(&component, 8).await, "{inner}");
            assert!(!runs(&component, 100).await, "{inner}");
        }
    }

    fn taken() -> Taken {
        Taken::new(&Limits { memory: 100, tables: 10, ..Limits::default() })
    }

    #[test]
    fn all_memories_count_together() {
        let mut taken = taken();
        assert!(taken.memory_growing(0, 60, None).unwrap());
        assert!(taken.memory_growing(0, 30, None).unwrap());
        assert!(taken.memory_growing(30, 40, None).unwrap());
        assert_eq!((taken.memory(), taken.refused()), (100, None));
        assert!(!taken.memory_growing(40, 41, None).unwrap());
        assert_eq!((taken.memory(), taken.refused()), (100, Some("limits.memory")));
    }

    #[test]
    fn all_tables_count_together() {
        let mut taken = taken();
        assert!(taken.table_growing(0, 6, None).unwrap() && taken.table_growing(0, 4, None).unwrap());
        assert!(!taken.table_growing(0, 1, None).unwrap());
        assert_eq!(taken.refused(), Some("limits.tables"));
    }
}
