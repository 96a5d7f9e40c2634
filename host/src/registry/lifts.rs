//! What instantiating a component creates, read from its bytes. Nothing is compiled or run.
//!
//! Two things are found that wasmtime does not tell: which exports are lifted as `async`, because
//! one that is not blocks its instance, and the [`Weight`] of an instance. Both can lie in a
//! component within the component and reach the outside through instances and aliases. So every
//! instantiation is followed, from the imports of each component to its exports.

use std::collections::HashSet;
use std::collections::hash_map::{Entry, HashMap};
use std::rc::Rc;

use wasmparser::{
    CanonicalFunction, CanonicalOption, Chunk, ComponentAlias, ComponentExternalKind as Kind, ComponentInstance,
    ComponentOuterAliasKind, Instance, Parser, Payload,
};

use super::weight::Weight;

/// Items that are followed. A component can instantiate others many times over; one of toolchains has some thousands.
const MOST_ITEMS: usize = 1_000_000;

/// Components within components that are followed.
const MOST_DEPTH: usize = 64;

/// Why a component that cannot be followed is refused.
pub const UNFOLLOWED: &str = "instantiates components within components too often or too deep to be counted: the host \
     follows 1000000 items and 64 levels";

/// What instantiating a component creates.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// The exports of its instances that are lifted as `async`, as `<interface>#<function>`.
    pub async_exports: HashSet<String>,
    pub weight: Weight,
}

/// Follows a component's instantiation. `None` when it is damaged, too large or too deep to be
/// followed to its end.
pub fn follow(component: &[u8]) -> Option<Made> {
    let mut made = Made::default();
    let mut walk = Walk { items: MOST_ITEMS, depth: MOST_DEPTH, weight: Weight::default(), modules: HashMap::new() };
    for (interface, item) in &walk.instantiate(component, None, &HashMap::new())? {
        let Item::Instance(functions) = item else { continue };
        let lifted = functions.iter().filter(|(_, item)| matches!(item, Item::AsyncLift));
        made.async_exports.extend(lifted.map(|(function, _)| format!("{interface}#{function}")));
    }
    made.weight = walk.weight;
    Some(made)
}

/// What names stand for.
type Named<'a> = HashMap<&'a str, Item<'a>>;

#[derive(Clone)]
enum Item<'a> {
    AsyncLift,
    Instance(Rc<Named<'a>>),
    Component(Rc<Inner<'a>>),
    /// The bytes of a core module.
    Module(&'a [u8]),
    /// Blocks, or is nothing that leads to a function.
    Other,
}

/// A component within another, with what it sees of those around it.
struct Inner<'a> {
    bytes: &'a [u8],
    around: Rc<Around<'a>>,
}

struct Around<'a> {
    components: Vec<Item<'a>>,
    modules: Vec<Item<'a>>,
    further: Option<Rc<Around<'a>>>,
}

impl<'a> Around<'a> {
    /// A component or module of an outer component, and how many levels further out that is.
    fn outer(&self, levels: u32, kind: Kind, index: u32) -> Option<Item<'a>> {
        // The number may be any, so this ends where there is nothing further out.
        let around = (0..levels).try_fold(self, |around, _| around.further.as_deref())?;
        let space = if kind == Kind::Module { &around.modules } else { &around.components };
        space.get(usize::try_from(index).ok()?).cloned()
    }
}

/// The index spaces of one component, as far as they matter.
#[derive(Default)]
struct Spaces<'a> {
    functions: Vec<Item<'a>>,
    instances: Vec<Item<'a>>,
    components: Vec<Item<'a>>,
    modules: Vec<Item<'a>>,
}

impl<'a> Spaces<'a> {
    fn of(&mut self, kind: Kind) -> Option<&mut Vec<Item<'a>>> {
        match kind {
            Kind::Func => Some(&mut self.functions),
            Kind::Instance => Some(&mut self.instances),
            Kind::Component => Some(&mut self.components),
            Kind::Module => Some(&mut self.modules),
            _ => None,
        }
    }

    fn push(&mut self, kind: Kind, item: Item<'a>) {
        if let Some(space) = self.of(kind) {
            space.push(item);
        }
    }

    fn get(&mut self, kind: Kind, index: u32) -> Item<'a> {
        let found = self.of(kind).and_then(|space| space.get(usize::try_from(index).ok()?));
        found.cloned().unwrap_or(Item::Other)
    }
}

/// What may still be followed.
struct Walk {
    items: usize,
    depth: usize,
    weight: Weight,
    /// The weight of each core module, by the place of its bytes: a component may be instantiated
    /// often.
    modules: HashMap<usize, Weight>,
}

impl Walk {
    fn add(&mut self, weight: Weight) {
        self.weight = self.weight.plus(weight);
    }

    fn add_module(&mut self, module: &[u8]) -> Option<()> {
        let weight = match self.modules.entry(module.as_ptr().addr()) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(place) => *place.insert(Weight::of_module(module)?),
        };
        self.add(weight);
        Some(())
    }

    fn spend(&mut self, items: usize) -> Option<()> {
        self.items = self.items.checked_sub(items)?;
        Some(())
    }

    /// The exports of a component, given its imports. `None` where it cannot be followed.
    fn instantiate<'a>(
        &mut self,
        bytes: &'a [u8],
        around: Option<&Rc<Around<'a>>>,
        imports: &Named<'a>,
    ) -> Option<Named<'a>> {
        self.add(Weight::COMPONENT);
        let (mut spaces, mut exports) = (Spaces::default(), Named::new());
        let (mut parser, mut rest) = (Parser::new(0), bytes);
        loop {
            let Chunk::Parsed { consumed, payload } = parser.parse(rest, true).ok()? else { return None };
            rest = rest.get(consumed..)?;
            match payload {
                Payload::End(_) => return Some(exports),
                Payload::ModuleSection { unchecked_range, .. } => {
                    self.spend(1)?;
                    let (module, after) = rest.split_at_checked(unchecked_range.len())?;
                    rest = after;
                    spaces.modules.push(Item::Module(module));
                }
                Payload::InstanceSection(section) => {
                    for instance in section {
                        self.spend(1)?;
                        if let Instance::Instantiate { module_index, .. } = instance.ok()? {
                            let Item::Module(module) = spaces.get(Kind::Module, module_index) else { return None };
                            self.add_module(module)?;
                        }
                    }
                }
                Payload::ComponentSection { unchecked_range, .. } => {
                    self.spend(spaces.components.len().saturating_add(spaces.modules.len()).saturating_add(1))?;
                    let (inner, after) = rest.split_at_checked(unchecked_range.len())?;
                    rest = after;
                    let around = Around {
                        components: spaces.components.clone(),
                        modules: spaces.modules.clone(),
                        further: around.cloned(),
                    };
                    let inner = Inner { bytes: inner, around: Rc::new(around) };
                    spaces.components.push(Item::Component(Rc::new(inner)));
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
                        self.add(Weight::CANONICAL);
                        if let CanonicalFunction::Lift { options, .. } = function.ok()? {
                            let is_async = options.contains(&CanonicalOption::Async);
                            spaces.functions.push(if is_async { Item::AsyncLift } else { Item::Other });
                        }
                    }
                }
                Payload::ComponentInstanceSection(section) => {
                    for instance in section {
                        self.spend(1)?;
                        let named = self.instance(&instance.ok()?, &mut spaces)?;
                        spaces.instances.push(Item::Instance(Rc::new(named)));
                    }
                }
                Payload::ComponentAliasSection(section) => {
                    for alias in section {
                        self.spend(1)?;
                        alias_of(&alias.ok()?, &mut spaces, around);
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
        }
    }

    fn instance<'a>(&mut self, instance: &ComponentInstance<'a>, spaces: &mut Spaces<'a>) -> Option<Named<'a>> {
        match instance {
            ComponentInstance::Instantiate { component_index, args } => {
                self.spend(args.len())?;
                let imports = args.iter().map(|arg| (arg.name, spaces.get(arg.kind, arg.index))).collect();
                // What cannot be found cannot be counted.
                let Item::Component(inner) = spaces.get(Kind::Component, *component_index) else { return None };
                self.depth = self.depth.checked_sub(1)?;
                let exports = self.instantiate(inner.bytes, Some(&inner.around), &imports);
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

fn alias_of<'a>(alias: &ComponentAlias<'a>, spaces: &mut Spaces<'a>, around: Option<&Rc<Around<'a>>>) {
    match *alias {
        ComponentAlias::InstanceExport { kind, instance_index, name } => {
            let item = match spaces.get(Kind::Instance, instance_index) {
                Item::Instance(named) => named.get(name).cloned(),
                _ => None,
            };
            spaces.push(kind, item.unwrap_or(Item::Other));
        }
        ComponentAlias::Outer { kind, count, index } => {
            let kind = match kind {
                ComponentOuterAliasKind::Component => Kind::Component,
                ComponentOuterAliasKind::CoreModule => Kind::Module,
                _ => return,
            };
            let item = match count.checked_sub(1) {
                None => spaces.get(kind, index),
                Some(further) => around.and_then(|around| around.outer(further, kind, index)).unwrap_or(Item::Other),
            };
            spaces.push(kind, item);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A core module, an async lift `$waits` and one that blocks, `$blocks`.
    const LIFTS: &str = r#"
      (core module $m
        (func (export "start") (result i32) unreachable)
        (func (export "callback") (param i32 i32 i32) (result i32) unreachable)
        (func (export "block")))
      (core instance $i (instantiate $m))
      (func $waits async (canon lift (core func $i "start") async (callback (core func $i "callback"))))
      (func $blocks async (canon lift (core func $i "block")))"#;

    #[track_caller]
    fn found(text: &str, expected: &[&str]) {
        let bytes = wat::parse_str(format!("(component {text})")).unwrap();
        let mut found: Vec<String> = follow(&bytes).unwrap().async_exports.into_iter().collect();
        found.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn functions_of_the_component_itself() {
        let text = format!(
            r#"{LIFTS}
            (instance $all (export "waits" (func $waits)) (export "blocks" (func $blocks)))
            (export "a:b/c" (instance $all))
            (export "waits" (func $waits))"#
        );
        found(&text, &["a:b/c#waits"]);
    }

    #[test]
    fn functions_through_a_shim_as_toolchains_make_them() {
        for (handed, expected) in [("$waits", &["a:b/c#handle"][..]), ("$blocks", &[])] {
            let text = format!(
                r#"{LIFTS}
                (component $shim (import "import-func-handle" (func $f async)) (export "handle" (func $f)))
                (instance $shimmed (instantiate $shim (with "import-func-handle" (func {handed}))))
                (export "a:b/c" (instance $shimmed))"#
            );
            found(&text, expected);
        }
    }

    #[test]
    fn functions_of_components_that_were_composed() {
        for (exported, expected) in [("$waits", &["a:b/c#handle"][..]), ("$blocks", &[])] {
            let text = format!(
                r#"
                (component $inner {LIFTS}
                  (instance $handler (export "handle" (func {exported})))
                  (export "a:b/c" (instance $handler)))
                (component $outer
                  (import "below" (component $below (export "a:b/c" (instance (export "handle" (func async))))))
                  (component $deep
                    (alias outer $outer $below (component $made))
                    (instance $of (instantiate $made))
                    (export "of" (instance $of)))
                  (instance $deep (instantiate $deep))
                  (alias export $deep "of" (instance $of))
                  (alias export $of "a:b/c" (instance $handler))
                  (alias export $handler "handle" (func $handle))
                  (instance $again (export "handle" (func $handle)))
                  (export "up" (instance $again)))
                (instance $made (instantiate $outer (with "below" (component $inner))))
                (alias export $made "up" (instance $up))
                (export "a:b/c" (instance $up))"#
            );
            found(&text, expected);
        }
    }

    /// A chain of components, each of which instantiates the one before so many times.
    fn chain(length: usize, times: usize) -> String {
        let link = |number: usize| {
            let before = number.checked_sub(1);
            let made = before.map(|before| format!("(instance (instantiate {before}))").repeat(times));
            let last = (times - 1) * usize::from(before.is_some());
            let outer = (0..number).map(|at| format!("(alias outer $top {at} (component))")).collect::<String>();
            let handler = match before {
                Some(_) => format!("(export \"a:b/c\" (instance {last} \"a:b/c\"))"),
                None => {
                    format!("{LIFTS} (instance $h (export \"handle\" (func $waits))) (export \"a:b/c\" (instance $h))")
                }
            };
            format!("(component {outer} {} {handler})", made.unwrap_or_default())
        };
        let all: String = (0..length).map(link).collect();
        format!(
            "(component $top {all} (instance $i (instantiate {})) (export \"a:b/c\" (instance $i \"a:b/c\")))",
            length - 1
        )
    }

    #[test]
    fn what_takes_too_long_to_follow_is_not_followed() {
        let found = |text: String| follow(&wat::parse_str(text).unwrap()).map(|made| made.async_exports.len());
        assert_eq!(found(chain(20, 1)), Some(1));
        assert_eq!(found(chain(5, 3)), Some(1));
        assert_eq!(found(chain(30, 3)), None, "three to the power of thirty");
        assert_eq!(found(chain(100, 1)), None, "too deep");
    }

    #[test]
    fn what_is_damaged_is_not_followed() {
        for bytes in [&b""[..], b"\0asm", b"nonsense", b"\0asm\x0d\0\x01\0\x0b\xff"] {
            assert_eq!(follow(bytes), None, "{bytes:?}");
        }
    }

    fn weight(text: &str) -> Weight {
        follow(&wat::parse_str(format!("(component {text})")).unwrap()).unwrap().weight
    }

    #[test]
    fn everything_counts_as_often_as_it_is_instantiated() {
        let module = "(core module $m (memory 1) (memory 0) (table 10 funcref) (global i32 (i32.const 0)) (func))";
        let one = weight(&format!("{module} (core instance (instantiate $m))"));
        assert_eq!((one.instances, one.memories, one.tables, one.globals), (1, 2, 1, 1));
        let none = weight(module);
        assert_eq!((none.instances, none.memories), (0, 0), "what is not instantiated costs nothing");
        let inner =
            format!("(component $c {module} (core instance (instantiate $m)) (core instance (instantiate $m)))");
        let three = "(instance (instantiate $c)) (instance (instantiate $c)) (instance (instantiate $c))";
        let six = weight(&format!("{inner} {three}"));
        assert_eq!((six.instances, six.memories, six.tables, six.globals), (6, 12, 6, 6));
        assert!(six.bytes >= 6 * (one.bytes - Weight::COMPONENT.bytes), "{six:?} {one:?}");
        let tree = follow(&wat::parse_str(chain(5, 3)).unwrap()).unwrap().weight;
        assert_eq!(tree.instances, 81, "three to the power of four");
    }

    #[test]
    fn modules_are_found_wherever_they_come_from() {
        let module = "(core module $m (memory 1) (func (export \"f\")))";
        for text in [
            // Of the component around it.
            format!(
                "(component $top {module} (component $c (alias outer $top $m (core module $n)) (core instance (instantiate $n))) (instance (instantiate $c)))"
            ),
            // Handed over as an import.
            format!(
                "(component {module} (component $c (import \"m\" (core module $n (export \"f\" (func)))) (core instance (instantiate $n))) (instance (instantiate $c (with \"m\" (core module $m)))))"
            ),
            // Exported by an instance.
            format!(
                "(component (component $c {module} (export \"m\" (core module $m))) (instance $i (instantiate $c)) (alias export $i \"m\" (core module $n)) (core instance (instantiate $n)))"
            ),
        ] {
            let weight = follow(&wat::parse_str(&text).unwrap()).unwrap().weight;
            assert_eq!((weight.instances, weight.memories), (1, 1), "{text}");
        }
        let unknown = "(component (import \"m\" (core module $m)) (core instance (instantiate $m)))";
        assert_eq!(follow(&wat::parse_str(unknown).unwrap()), None, "nobody knows what it would cost");
    }

    #[test]
    fn what_an_instance_costs_grows_with_its_parts() {
        let of = |parts: &str| weight(&format!("(core module $m {parts}) (core instance (instantiate $m))")).bytes;
        let empty = of("");
        for (parts, at_least) in [
            ("(global i64 (i64.const 0))".repeat(1_000), 16_000),
            ("(func)".repeat(1_000), 32_000),
            ("(table 100000 funcref)".to_owned(), 800_000),
            ("(table 1 externref)".repeat(50), 50 * 16),
            (format!("(func $f) (elem func {})", "$f ".repeat(1_000)), 16_000),
            ("(data \"\")".repeat(100), 1_200),
        ] {
            assert!(of(&parts) >= empty + at_least, "{parts:.40} {}", of(&parts));
        }
    }
}
