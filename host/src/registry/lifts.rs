//! Which of a component's exports are lifted as `async`: one that is not blocks its instance, and wasmtime does not tell.
//!
//! A function may be lifted in a component within the component, and come up through instances and aliases. So what is
//! instantiated is followed here, from the imports of each component to its exports. Nothing runs.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use wasmparser::{
    CanonicalFunction, CanonicalOption, Chunk, ComponentAlias, ComponentExternalKind as Kind, ComponentInstance,
    ComponentOuterAliasKind, Parser, Payload,
};

/// Items that are followed. A component can instantiate others many times over; one of toolchains has some thousands.
const MOST_ITEMS: usize = 1_000_000;

/// Components within components that are followed.
const MOST_DEPTH: usize = 64;

/// The exports of a component's instances that are lifted as `async`, as `<interface>#<function>`. Of a component that cannot be
/// followed to its end, none.
pub fn async_exports(component: &[u8]) -> HashSet<String> {
    let mut names = HashSet::new();
    let mut walk = Walk { items: MOST_ITEMS, depth: MOST_DEPTH };
    for (interface, item) in walk.instantiate(component, None, &HashMap::new()).iter().flat_map(|all| all.iter()) {
        let Item::Instance(functions) = item else { continue };
        let lifted = functions.iter().filter(|(_, item)| matches!(item, Item::AsyncLift));
        names.extend(lifted.map(|(function, _)| format!("{interface}#{function}")));
    }
    names
}

/// What names stand for.
type Named<'a> = HashMap<&'a str, Item<'a>>;

#[derive(Clone)]
enum Item<'a> {
    AsyncLift,
    Instance(Rc<Named<'a>>),
    Component(Rc<Inner<'a>>),
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
    further: Option<Rc<Around<'a>>>,
}

/// The index spaces of one component, as far as they matter.
#[derive(Default)]
struct Spaces<'a> {
    functions: Vec<Item<'a>>,
    instances: Vec<Item<'a>>,
    components: Vec<Item<'a>>,
}

impl<'a> Spaces<'a> {
    fn of(&mut self, kind: Kind) -> Option<&mut Vec<Item<'a>>> {
        match kind {
            Kind::Func => Some(&mut self.functions),
            Kind::Instance => Some(&mut self.instances),
            Kind::Component => Some(&mut self.components),
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
}

impl Walk {
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
        let (mut spaces, mut exports) = (Spaces::default(), Named::new());
        let (mut parser, mut rest) = (Parser::new(0), bytes);
        loop {
            let Chunk::Parsed { consumed, payload } = parser.parse(rest, true).ok()? else { return None };
            rest = rest.get(consumed..)?;
            match payload {
                Payload::End(_) => return Some(exports),
                Payload::ModuleSection { unchecked_range, .. } => rest = rest.get(unchecked_range.len()..)?,
                Payload::ComponentSection { unchecked_range, .. } => {
                    self.spend(spaces.components.len().saturating_add(1))?;
                    let (inner, after) = rest.split_at_checked(unchecked_range.len())?;
                    rest = after;
                    let around = Around { components: spaces.components.clone(), further: around.cloned() };
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
                let Item::Component(inner) = spaces.get(Kind::Component, *component_index) else {
                    return Some(Named::new());
                };
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
        ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, count, index } => {
            let item = match count.checked_sub(1) {
                None => spaces.get(Kind::Component, index),
                Some(further) => {
                    let mut seen = around;
                    for _ in 0..further {
                        seen = seen.and_then(|around| around.further.as_ref());
                    }
                    let found = seen.and_then(|around| around.components.get(usize::try_from(index).ok()?));
                    found.cloned().unwrap_or(Item::Other)
                }
            };
            spaces.components.push(item);
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
        let mut found: Vec<String> = async_exports(&bytes).into_iter().collect();
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
    fn what_takes_too_long_to_follow_counts_as_blocking() {
        let found = |text: String| async_exports(&wat::parse_str(text).unwrap()).len();
        assert_eq!(found(chain(20, 1)), 1);
        assert_eq!(found(chain(5, 3)), 1);
        assert_eq!(found(chain(30, 3)), 0, "three to the power of thirty");
        assert_eq!(found(chain(100, 1)), 0, "too deep");
    }

    #[test]
    fn what_is_no_component_has_none() {
        for bytes in [&b""[..], b"\0asm", b"nonsense", b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0\x0b\xff"] {
            assert!(async_exports(bytes).is_empty(), "{bytes:?}");
        }
    }
}
