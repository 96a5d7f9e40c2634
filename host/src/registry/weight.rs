//! The memory that one instance of a component costs the host besides its linear memories, counted
//! in the bytes before anything is compiled or instantiated.
//!
//! The sizes are upper bounds of what wasmtime 48 allocates: `VMOffsets` in wasmtime-environ for
//! what compiled code reaches, `Instance` and `ComponentInstance` in wasmtime for the rest.

use wasmparser::{ElementItems, ElementKind, Parser, Payload};

use crate::config::EngineConfig;

/// What instantiating a component once creates in the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weight {
    /// Instances of core modules.
    pub instances: u64,
    /// Linear memories, each of which reserves address space.
    pub memories: u64,
    pub tables: u64,
    pub globals: u64,
    /// Bytes of host memory for all of it, without the content of memories and tables that grow.
    pub bytes: u64,
}

/// Bytes that the host holds for each thing.
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
    /// A component within the component, with its table of handles.
    pub const COMPONENT: u64 = 2_048;
    /// A function that is lifted, lowered or built in.
    pub const CANONICAL: u64 = 128;
}

impl Weight {
    pub const COMPONENT: Weight = Weight::of_bytes(size::COMPONENT);
    pub const CANONICAL: Weight = Weight::of_bytes(size::CANONICAL);

    const fn of_bytes(bytes: u64) -> Weight {
        Weight { instances: 0, memories: 0, tables: 0, globals: 0, bytes }
    }

    #[must_use]
    pub fn plus(self, other: Weight) -> Weight {
        Weight {
            instances: self.instances.saturating_add(other.instances),
            memories: self.memories.saturating_add(other.memories),
            tables: self.tables.saturating_add(other.tables),
            globals: self.globals.saturating_add(other.globals),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    /// The weight of one instance of a core module; `None` when the bytes are damaged.
    pub fn of_module(module: &[u8]) -> Option<Weight> {
        let mut weight = Weight { instances: 1, ..Weight::default() };
        let mut bytes = size::INSTANCE;
        let mut add = |each: u64, count: u64| bytes = bytes.saturating_add(each.saturating_mul(count));
        for payload in Parser::new(0).parse_all(module) {
            match payload.ok()? {
                Payload::ImportSection(section) => {
                    // Imported functions may be referenced too.
                    let each = size::IMPORT + size::FUNCTION;
                    section.into_imports().for_each(|_| add(each, 1));
                }
                Payload::FunctionSection(section) => add(size::FUNCTION, section.count().into()),
                Payload::TagSection(section) => add(size::TAG, section.count().into()),
                Payload::DataSection(section) => add(size::DATA, section.count().into()),
                Payload::GlobalSection(section) => {
                    weight.globals = section.count().into();
                    add(size::GLOBAL, weight.globals);
                }
                Payload::MemorySection(section) => {
                    weight.memories = section.count().into();
                    add(size::MEMORY, weight.memories);
                }
                Payload::TableSection(section) => {
                    weight.tables = section.count().into();
                    add(size::TABLE, weight.tables);
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
        Some(Weight { bytes, ..weight })
    }

    /// What is beyond a bound of `settings`, for each its own fault.
    pub fn faults(&self, settings: &EngineConfig) -> Vec<String> {
        let Weight { instances, memories, tables, globals, bytes } = self;
        let mut faults = Vec::new();
        if *instances > settings.max_instances.into() {
            let most = settings.max_instances;
            faults.push(format!(
                "makes {instances} instances of core modules: engine.maxInstances of fanfare.json allows {most}"
            ));
        }
        if *memories > settings.max_memories.into() {
            let most = settings.max_memories;
            faults.push(format!("makes {memories} memories: engine.maxMemories of fanfare.json allows {most}"));
        }
        if *bytes > settings.max_instance_size {
            let most = settings.max_instance_size;
            faults.push(format!(
                "takes {bytes} bytes of host memory an instance, besides its memories, for {instances} core instances, \
                 {globals} globals, {tables} tables and their functions: engine.maxInstanceSize of fanfare.json allows {most}"
            ));
        }
        faults
    }
}
