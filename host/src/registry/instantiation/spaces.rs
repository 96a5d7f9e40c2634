//! The index spaces of a component: the items that its instructions refer to by number.

use std::collections::HashMap;
use std::rc::Rc;

use wasmparser::{ComponentAlias, ComponentExternalKind as Kind, ComponentOuterAliasKind};

/// Items by name: the imports of a component, or the exports of an instance.
pub type Items<'a> = HashMap<&'a str, Item<'a>>;

/// An item of an index space, as far as the analysis needs it.
#[derive(Clone)]
pub enum Item<'a> {
    /// A function that is lifted as `async`.
    AsyncLift,
    Instance(Rc<Items<'a>>),
    Component(Rc<NestedComponent<'a>>),
    /// The bytes of a core module.
    Module(&'a [u8]),
    /// Anything else: a function that blocks, or an item that leads to no function.
    Other,
}

/// A component within another one, and the spaces of the outer components that it can refer to.
pub struct NestedComponent<'a> {
    pub bytes: &'a [u8],
    pub outer: Rc<OuterSpaces<'a>>,
}

/// The spaces of an outer component, as they are where the nested component begins.
pub struct OuterSpaces<'a> {
    pub components: Vec<Item<'a>>,
    pub modules: Vec<Item<'a>>,
    /// The spaces one level further out.
    pub outer: Option<Rc<OuterSpaces<'a>>>,
}

impl<'a> OuterSpaces<'a> {
    /// Returns a component or module that is `levels` levels further out.
    fn get(&self, levels: u32, kind: Kind, index: u32) -> Option<Item<'a>> {
        // `levels` may be any number, so the search ends at the outermost component.
        let spaces = (0..levels).try_fold(self, |spaces, _| spaces.outer.as_deref())?;
        let space = if kind == Kind::Module { &spaces.modules } else { &spaces.components };
        space.get(usize::try_from(index).ok()?).cloned()
    }
}

/// The index spaces of one component, as far as the analysis needs them.
#[derive(Default)]
pub struct IndexSpaces<'a> {
    pub functions: Vec<Item<'a>>,
    pub instances: Vec<Item<'a>>,
    pub components: Vec<Item<'a>>,
    pub modules: Vec<Item<'a>>,
}

impl<'a> IndexSpaces<'a> {
    fn of(&mut self, kind: Kind) -> Option<&mut Vec<Item<'a>>> {
        match kind {
            Kind::Func => Some(&mut self.functions),
            Kind::Instance => Some(&mut self.instances),
            Kind::Component => Some(&mut self.components),
            Kind::Module => Some(&mut self.modules),
            _ => None,
        }
    }

    pub fn push(&mut self, kind: Kind, item: Item<'a>) {
        if let Some(space) = self.of(kind) {
            space.push(item);
        }
    }

    pub fn get(&mut self, kind: Kind, index: u32) -> Item<'a> {
        let found = self.of(kind).and_then(|space| space.get(usize::try_from(index).ok()?));
        found.cloned().unwrap_or(Item::Other)
    }

    /// Adds the item that an alias refers to.
    pub fn add_alias(&mut self, alias: &ComponentAlias<'a>, outer: Option<&Rc<OuterSpaces<'a>>>) {
        match *alias {
            ComponentAlias::InstanceExport { kind, instance_index, name } => {
                let item = match self.get(Kind::Instance, instance_index) {
                    Item::Instance(items) => items.get(name).cloned(),
                    _ => None,
                };
                self.push(kind, item.unwrap_or(Item::Other));
            }
            ComponentAlias::Outer { kind, count, index } => {
                let kind = match kind {
                    ComponentOuterAliasKind::Component => Kind::Component,
                    ComponentOuterAliasKind::CoreModule => Kind::Module,
                    _ => return,
                };
                let item = match count.checked_sub(1) {
                    None => self.get(kind, index),
                    Some(levels) => outer.and_then(|outer| outer.get(levels, kind, index)).unwrap_or(Item::Other),
                };
                self.push(kind, item);
            }
            _ => {}
        }
    }
}
