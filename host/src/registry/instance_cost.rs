//! Estimates the host's resources that one instance of a component needs besides its linear
//! memories. It reads the component's bytes, before anything is compiled or instantiated.
//!
//! The sizes are upper bounds of the allocations of wasmtime 48: see `VMOffsets` in
//! wasmtime-environ for the data that compiled code reaches, and `Instance` and `ComponentInstance`
//! in wasmtime for the rest.

use wasmparser::{ElementItems, ElementKind, Parser, Payload};

use crate::config::EngineConfig;

/// The resources of the host that one instance of a component needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InstanceCost {
    /// Instances of core modules.
    pub instances: u64,
    /// Linear memories, each of which reserves address space.
    pub memories: u64,
    pub tables: u64,
    pub globals: u64,
    /// Bytes of host memory for all of these, without the contents of memories and without the
    /// growth of tables.
    pub bytes: u64,
}

/// The bytes of host memory for one item of each kind.
mod size {
    pub const INSTANCE: u64 = 2_048;
    pub const MEMORY: u64 = 1_024;
    pub const TABLE: u64 = 256;
    pub const TABLE_ELEMENT: u64 = 8;
    pub const GLOBAL: u64 = 16;
    pub const TAG: u64 = 16;
    /// A function that may be referenced, in `VMFuncRef`.
    pub const FUNCTION: u64 = 32;
    pub const IMPORT: u64 = 32;
    pub const DATA: u64 = 32;
    pub const PASSIVE_ELEMENTS: u64 = 64;
    pub const PASSIVE_ELEMENT: u64 = 16;
    /// An instance of a component within the component, with its table of handles.
    pub const COMPONENT: u64 = 2_048;
    /// A lifted, lowered or built-in function.
    pub const CANONICAL: u64 = 128;
}

impl InstanceCost {
    pub const COMPONENT: InstanceCost = InstanceCost::of_bytes(size::COMPONENT);
    pub const CANONICAL: InstanceCost = InstanceCost::of_bytes(size::CANONICAL);

    const fn of_bytes(bytes: u64) -> InstanceCost {
        InstanceCost { instances: 0, memories: 0, tables: 0, globals: 0, bytes }
    }

    #[must_use]
    pub fn plus(self, other: InstanceCost) -> InstanceCost {
        InstanceCost {
            instances: self.instances.saturating_add(other.instances),
            memories: self.memories.saturating_add(other.memories),
            tables: self.tables.saturating_add(other.tables),
            globals: self.globals.saturating_add(other.globals),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    /// Returns the cost of one instance of a core module. `None` when the bytes are damaged.
    pub fn of_module(module: &[u8]) -> Option<InstanceCost> {
        let mut cost = InstanceCost { instances: 1, ..InstanceCost::default() };
        let mut bytes = size::INSTANCE;
        let mut add = |each: u64, count: u64| bytes = bytes.saturating_add(each.saturating_mul(count));
        for payload in Parser::new(0).parse_all(module) {
            match payload.ok()? {
                Payload::ImportSection(section) => {
                    // An imported function may be referenced too.
                    let each = size::IMPORT + size::FUNCTION;
                    section.into_imports().for_each(|_| add(each, 1));
                }
                Payload::FunctionSection(section) => add(size::FUNCTION, section.count().into()),
                Payload::TagSection(section) => add(size::TAG, section.count().into()),
                Payload::DataSection(section) => add(size::DATA, section.count().into()),
                Payload::GlobalSection(section) => {
                    cost.globals = section.count().into();
                    add(size::GLOBAL, cost.globals);
                }
                Payload::MemorySection(section) => {
                    cost.memories = section.count().into();
                    add(size::MEMORY, cost.memories);
                }
                Payload::TableSection(section) => {
                    cost.tables = section.count().into();
                    add(size::TABLE, cost.tables);
                    for table in section {
                        add(size::TABLE_ELEMENT, table.ok()?.ty.initial);
                    }
                }
                Payload::ElementSection(section) => {
                    for element in section {
                        let element = element.ok()?;
                        if matches!(element.kind, ElementKind::Passive) {
                            let items = match element.items {
                                ElementItems::Functions(items) => items.count(),
                                ElementItems::Expressions(_, items) => items.count(),
                            };
                            add(size::PASSIVE_ELEMENTS, 1);
                            add(size::PASSIVE_ELEMENT, items.into());
                        }
                    }
                }
                _ => {}
            }
        }
        Some(InstanceCost { bytes, ..cost })
    }

    /// Returns a fault for each setting of `engine` that the cost exceeds.
    pub fn faults(&self, settings: &EngineConfig) -> Vec<String> {
        let InstanceCost { instances, memories, tables, globals, bytes } = self;
        let mut faults = Vec::new();
        if *instances > settings.max_instances.into() {
            let most = settings.max_instances;
            faults.push(format!(
                "creates {instances} instances of core modules: engine.maxInstances of fanfare.json allows {most}"
            ));
        }
        if *memories > settings.max_memories.into() {
            let most = settings.max_memories;
            faults.push(format!("creates {memories} memories: engine.maxMemories of fanfare.json allows {most}"));
        }
        if *bytes > settings.max_instance_size {
            let most = settings.max_instance_size;
            faults.push(format!(
                "needs {bytes} bytes of host memory per instance, besides its memories, for {instances} core instances, \
                 {globals} globals, {tables} tables and their functions: engine.maxInstanceSize of fanfare.json allows {most}"
            ));
        }
        faults
    }
}
