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
    let mut found: Vec<String> = analyse(&bytes).unwrap().async_exports.into_iter().collect();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn async_functions_of_the_component_itself_are_found() {
    let text = format!(
        r#"{LIFTS}
        (instance $all (export "waits" (func $waits)) (export "blocks" (func $blocks)))
        (export "a:b/c" (instance $all))
        (export "waits" (func $waits))"#
    );
    found(&text, &["a:b/c#waits"]);
}

#[test]
fn async_functions_are_found_through_the_shims_of_toolchains() {
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
fn async_functions_are_found_in_composed_components() {
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

/// A chain of components, each of which instantiates the previous one `times` times.
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
fn a_component_with_too_many_items_or_levels_is_not_analysed() {
    let found = |text: String| analyse(&wat::parse_str(text).unwrap()).map(|analysis| analysis.async_exports.len());
    assert_eq!(found(chain(20, 1)), Some(1));
    assert_eq!(found(chain(5, 3)), Some(1));
    assert_eq!(found(chain(30, 3)), None, "three to the power of thirty");
    assert_eq!(found(chain(100, 1)), None, "too deep");
}

#[test]
fn a_component_is_composed_when_an_inner_one_lifts_functions() {
    let is_composed = |text: String| analyse(&wat::parse_str(text).unwrap()).unwrap().is_composed;
    let module = r#"(core module $m (func (export "f"))) (core instance $i (instantiate $m))
        (func $f (canon lift (core func $i "f")))"#;
    // Toolchains wrap the exports of an interface in such a component.
    let wrapper = r#"(component $w (import "f" (func $g)) (export "f" (func $g)))
        (instance (instantiate $w (with "f" (func $f))))"#;
    assert!(!is_composed(format!("(component {module} {wrapper})")));
    assert!(is_composed(format!("(component (component $c {module}) (instance (instantiate $c)))")));
}

#[test]
fn damaged_bytes_are_not_analysed() {
    for bytes in [&b""[..], b"\0asm", b"nonsense", b"\0asm\x0d\0\x01\0\x0b\xff"] {
        assert_eq!(analyse(bytes), None, "{bytes:?}");
    }
}

fn cost(text: &str) -> InstanceCost {
    analyse(&wat::parse_str(format!("(component {text})")).unwrap()).unwrap().cost
}

#[test]
fn a_part_counts_as_often_as_it_is_instantiated() {
    let module = "(core module $m (memory 1) (memory 0) (table 10 funcref) (global i32 (i32.const 0)) (func))";
    let one = cost(&format!("{module} (core instance (instantiate $m))"));
    assert_eq!((one.instances, one.memories, one.tables, one.globals), (1, 2, 1, 1));
    let none = cost(module);
    assert_eq!((none.instances, none.memories), (0, 0), "a module that is not instantiated costs nothing");
    let inner = format!("(component $c {module} (core instance (instantiate $m)) (core instance (instantiate $m)))");
    let three = "(instance (instantiate $c)) (instance (instantiate $c)) (instance (instantiate $c))";
    let six = cost(&format!("{inner} {three}"));
    assert_eq!((six.instances, six.memories, six.tables, six.globals), (6, 12, 6, 6));
    assert!(six.bytes >= 6 * (one.bytes - InstanceCost::COMPONENT.bytes), "{six:?} {one:?}");
    let tree = analyse(&wat::parse_str(chain(5, 3)).unwrap()).unwrap().cost;
    assert_eq!(tree.instances, 81, "three to the power of four");
}

#[test]
fn a_module_counts_wherever_it_is_defined() {
    let module = "(core module $m (memory 1) (func (export \"f\")))";
    for text in [
        // In the outer component.
        format!(
            "(component $top {module} (component $c (alias outer $top $m (core module $n)) (core instance (instantiate $n))) (instance (instantiate $c)))"
        ),
        // As an import.
        format!(
            "(component {module} (component $c (import \"m\" (core module $n (export \"f\" (func)))) (core instance (instantiate $n))) (instance (instantiate $c (with \"m\" (core module $m)))))"
        ),
        // As an export of an instance.
        format!(
            "(component (component $c {module} (export \"m\" (core module $m))) (instance $i (instantiate $c)) (alias export $i \"m\" (core module $n)) (core instance (instantiate $n)))"
        ),
    ] {
        let cost = analyse(&wat::parse_str(&text).unwrap()).unwrap().cost;
        assert_eq!((cost.instances, cost.memories), (1, 1), "{text}");
    }
    let unknown = "(component (import \"m\" (core module $m)) (core instance (instantiate $m)))";
    assert_eq!(analyse(&wat::parse_str(unknown).unwrap()), None, "the cost of an imported module is unknown");
}

#[test]
fn the_cost_of_an_instance_grows_with_its_parts() {
    let of = |parts: &str| cost(&format!("(core module $m {parts}) (core instance (instantiate $m))")).bytes;
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
