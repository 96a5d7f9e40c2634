//! Analyses what instantiating a component creates, from its bytes. Nothing is compiled or run.
//!
//! The analysis finds two facts that wasmtime does not report. The first is which exports are
//! lifted as `async`, because an export that is not blocks its instance. The second is the
//! [`InstanceCost`]. Both may depend on a nested component, whose items reach the outside through
//! instances and aliases. So the analysis follows every instantiation, from the imports of each
//! component to its exports.

mod spaces;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::collections::hash_map::{Entry, HashMap};
use std::rc::Rc;

use wasmparser::{
    CanonicalFunction, CanonicalOption, Chunk, ComponentExternalKind as Kind, ComponentInstance, Instance, Parser,
    Payload,
};

use self::spaces::{IndexSpaces, Item, Items, NestedComponent, OuterSpaces};
use super::instance_cost::InstanceCost;

/// The most items that the analysis follows. A component may instantiate others many times over;
/// components from toolchains have some thousands of items.
const MOST_ITEMS: usize = 1_000_000;

/// The most levels of nested components that the analysis follows.
const MOST_DEPTH: usize = 64;

/// The fault of a component that exceeds [`MOST_ITEMS`] or [`MOST_DEPTH`].
pub const TOO_COMPLEX: &str = "instantiates nested components too often or too deep: the host follows at most \
     1000000 items and 64 levels";

/// The facts about an instance of a component.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Analysis {
    /// The exports that are lifted as `async`, as `<interface>#<function>`.
    pub async_exports: HashSet<String>,
    /// Whether inner components lift functions, as those of a component that is composed of others.
    pub is_composed: bool,
    pub cost: InstanceCost,
}

/// Analyses a component. `None` when it is damaged, or exceeds [`MOST_ITEMS`] or [`MOST_DEPTH`].
pub fn analyse(component: &[u8]) -> Option<Analysis> {
    let mut analysis = Analysis::default();
    let mut walk = Walk {
        items: MOST_ITEMS,
        depth: MOST_DEPTH,
        is_composed: false,
        cost: InstanceCost::default(),
        modules: HashMap::new(),
    };
    for (interface, item) in &walk.instantiate(component, None, &HashMap::new())? {
        let Item::Instance(functions) = item else { continue };
        let lifted = functions.iter().filter(|(_, item)| matches!(item, Item::AsyncLift));
        analysis.async_exports.extend(lifted.map(|(function, _)| format!("{interface}#{function}")));
    }
    (analysis.is_composed, analysis.cost) = (walk.is_composed, walk.cost);
    Some(analysis)
}

/// The component whose instantiation the analysis follows.
struct Component<'a, 'i> {
    outer: Option<&'i Rc<OuterSpaces<'a>>>,
    imports: &'i Items<'a>,
    spaces: IndexSpaces<'a>,
    exports: Items<'a>,
}

impl<'a> Component<'a, '_> {
    /// Adds a component that is defined within this one.
    fn add_nested(&mut self, bytes: &'a [u8]) {
        let outer = OuterSpaces {
            components: self.spaces.components.clone(),
            modules: self.spaces.modules.clone(),
            outer: self.outer.cloned(),
        };
        let nested = NestedComponent { bytes, outer: Rc::new(outer) };
        self.spaces.components.push(Item::Component(Rc::new(nested)));
    }
}

/// The state of an analysis: the cost so far, and the items and levels that it may still follow.
struct Walk {
    items: usize,
    depth: usize,
    is_composed: bool,
    cost: InstanceCost,
    /// The cost of each core module, by the address of its bytes, because a component may
    /// instantiate a module many times.
    modules: HashMap<usize, InstanceCost>,
}

impl Walk {
    fn add(&mut self, cost: InstanceCost) {
        self.cost = self.cost.plus(cost);
    }

    fn add_module(&mut self, module: &[u8]) -> Option<()> {
        let cost = match self.modules.entry(module.as_ptr().addr()) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(place) => *place.insert(InstanceCost::of_module(module)?),
        };
        self.add(cost);
        Some(())
    }

    fn spend(&mut self, items: usize) -> Option<()> {
        self.items = self.items.checked_sub(items)?;
        Some(())
    }

    /// Follows one instantiation and returns the exports of the component, given its imports.
    /// `None` where the analysis cannot continue.
    fn instantiate<'a>(
        &mut self,
        bytes: &'a [u8],
        outer: Option<&Rc<OuterSpaces<'a>>>,
        imports: &Items<'a>,
    ) -> Option<Items<'a>> {
        self.add(InstanceCost::COMPONENT);
        let mut component = Component { outer, imports, spaces: IndexSpaces::default(), exports: Items::new() };
        let (mut parser, mut rest) = (Parser::new(0), bytes);
        loop {
            let Chunk::Parsed { consumed, payload } = parser.parse(rest, true).ok()? else { return None };
            rest = rest.get(consumed..)?;
            match payload {
                Payload::End(_) => return Some(component.exports),
                Payload::ModuleSection { unchecked_range, .. } => {
                    self.spend(1)?;
                    let (module, after) = rest.split_at_checked(unchecked_range.len())?;
                    rest = after;
                    component.spaces.modules.push(Item::Module(module));
                }
                Payload::ComponentSection { unchecked_range, .. } => {
                    let IndexSpaces { components, modules, .. } = &component.spaces;
                    self.spend(components.len().saturating_add(modules.len()).saturating_add(1))?;
                    let (nested, after) = rest.split_at_checked(unchecked_range.len())?;
                    rest = after;
                    component.add_nested(nested);
                }
                section => self.section(section, &mut component)?,
            }
        }
    }

    /// Follows a section that is a list of items.
    fn section<'a>(&mut self, section: Payload<'a>, component: &mut Component<'a, '_>) -> Option<()> {
        let Component { outer, imports, spaces, exports } = component;
        match section {
            Payload::InstanceSection(section) => {
                for instance in section {
                    self.spend(1)?;
                    if let Instance::Instantiate { module_index, .. } = instance.ok()? {
                        let Item::Module(module) = spaces.get(Kind::Module, module_index) else { return None };
                        self.add_module(module)?;
                    }
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    self.spend(1)?;
                    let import = import.ok()?;
                    let item = imports.get(import.name.name).cloned().unwrap_or(Item::Other);
                    spaces.push(import.ty.kind(), item);
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                for function in section {
                    self.spend(1)?;
                    self.add(InstanceCost::CANONICAL);
                    if let CanonicalFunction::Lift { options, .. } = function.ok()? {
                        self.is_composed |= outer.is_some();
                        let is_async = options.contains(&CanonicalOption::Async);
                        spaces.functions.push(if is_async { Item::AsyncLift } else { Item::Other });
                    }
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section {
                    self.spend(1)?;
                    let items = self.instance(&instance.ok()?, spaces)?;
                    spaces.instances.push(Item::Instance(Rc::new(items)));
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section {
                    self.spend(1)?;
                    spaces.add_alias(&alias.ok()?, *outer);
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    self.spend(1)?;
                    let export = export.ok()?;
                    let item = spaces.get(export.kind, export.index);
                    exports.insert(export.name.name, item.clone());
                    spaces.push(export.kind, item);
                }
            }
            _ => {}
        }
        Some(())
    }

    /// Returns the exports of an instance within a component.
    fn instance<'a>(&mut self, instance: &ComponentInstance<'a>, spaces: &mut IndexSpaces<'a>) -> Option<Items<'a>> {
        match instance {
            ComponentInstance::Instantiate { component_index, args } => {
                self.spend(args.len())?;
                let imports = args.iter().map(|arg| (arg.name, spaces.get(arg.kind, arg.index))).collect();
                // The cost of an unknown component, such as an imported one, cannot be counted.
                let Item::Component(nested) = spaces.get(Kind::Component, *component_index) else { return None };
                self.depth = self.depth.checked_sub(1)?;
                let exports = self.instantiate(nested.bytes, Some(&nested.outer), &imports);
                self.depth += 1;
                exports
            }
            ComponentInstance::FromExports(exports) => {
                self.spend(exports.len())?;
                Some(exports.iter().map(|export| (export.name.name, spaces.get(export.kind, export.index))).collect())
            }
        }
    }
}
