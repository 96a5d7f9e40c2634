//! Limits also apply to a second core module. The component is like a composed one: each of its two
//! core modules has a memory and a table.

use std::fs;

use wasmparser::{Instance, Parser, Payload};

use super::instance::elements;
use crate::failures::steps::assert_names;
use crate::harness::{Started, TestHost, json_of, section, source_of, vector};

const PAGE: u64 = 64 << 10;

/// Returns the second core module, built from this text:
///
/// ```wat
/// (module
///   (import "main" "second" (func $second (param i32)))
///   (import "main" "__indirect_function_table" (table $functions 0 funcref))
///   (table $own 0 funcref)
///   (memory 1)
///   (func $grow (param $table i32) (param $by i32) (result i32)
///     (if (result i32) (local.get $table)
///       (then (table.grow $own (ref.null func) (local.get $by)))
///       (else (memory.grow (local.get $by)))))
///   (func $start
///     (call $second (table.grow $functions (ref.func $grow) (i32.const 1))))
///   (elem declare func $grow)
///   (start $start))
/// ```
fn second() -> Vec<u8> {
    let types = [&[0x60, 1, 0x7f, 0][..], &[0x60, 2, 0x7f, 0x7f, 1, 0x7f], &[0x60, 0, 0]];
    let name = |text: &str| vector(text.bytes().map(|byte| [byte]));
    let imported = |field: &str, what: &[u8]| [name("main"), name(field), what.to_vec()].concat();
    let imports = [imported("second", &[0, 0]), imported("__indirect_function_table", &[1, 0x70, 0, 0])];
    let grow = [0, 0x20, 0, 0x04, 0x7f, 0xd0, 0x70, 0x20, 1, 0xfc, 0x0f, 1, 0x05, 0x20, 1, 0x40, 0, 0x0b, 0x0b];
    let start = [0, 0xd2, 1, 0x41, 1, 0xfc, 0x0f, 0, 0x10, 0, 0x0b];
    let code = [&grow[..], &start].map(|body| vector(body.iter().map(|byte| [*byte])));
    let sections = [
        section(1, vector(types)),
        section(2, vector(imports)),
        section(3, vector([[1], [2]])),
        section(4, vector([[0x70, 0, 0]])),
        section(5, vector([[0, 1]])),
        section(8, vec![2]),
        section(9, vector([[3, 0, 1, 1]])),
        section(10, vector(code)),
    ];
    [&b"\0asm\x01\0\0\0"[..], &sections.concat()].concat()
}

/// The component of `allocates`, with the second core module added.
fn composed() -> Vec<u8> {
    let component = fs::read(source_of("allocates").join("allocates.wasm")).unwrap();
    let (mut depth, mut modules, mut instances, mut main) = (0, 0, 0, None);
    for part in Parser::new(0).parse_all(&component).map(Result::unwrap) {
        match part {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                modules += u8::from(depth == 0 && matches!(part, Payload::ModuleSection { .. }));
                depth += 1;
            }
            Payload::End(_) => depth -= 1,
            Payload::InstanceSection(section) if depth == 0 => {
                for instance in section {
                    if let Instance::Instantiate { module_index: 0, .. } = instance.unwrap() {
                        main = Some(instances);
                    }
                    instances += 1;
                }
            }
            _ => {}
        }
    }
    let with_main = [&[0, modules, 1, 4][..], b"main", &[0x12, main.unwrap()]].concat();
    [component, section(1, second()), section(2, vector([with_main]))].concat()
}

async fn start(limit: &str, value: u64) -> Started {
    let host = TestHost::with("allocates").file("modules/allocates/allocates.wasm", composed());
    host.limit("allocates", limit, value).workers(1).start().await
}

/// Returns how often the second core module can grow by one before the guest crashes.
async fn most(host: &Started, path: &str, limit: &str) -> u64 {
    for count in 0..200 {
        let answer = host.call("any", "allocates", path, "1").await;
        if answer["code"] == "crashed" {
            assert_names(&answer["detail"], &["allocates", limit]);
            return count;
        }
        assert!(json_of(&answer).is_u64(), "{answer}");
    }
    panic!("the limit is never reached")
}

pub async fn memories() {
    let most = async |limit: u64, eaten: &str| {
        let host = start("memory", limit).await;
        let ate = host.call("any", "allocates", "eat", eaten).await;
        assert_eq!(json_of(&ate).to_string(), eaten);
        most(&host, "grow/memory", &format!("limits.memory, {limit} bytes")).await
    };
    let limit = 4 << 20;
    let pages = most(limit, "0").await;
    assert!((16..limit / PAGE).contains(&pages), "{pages}: the first memory counts too");
    assert_eq!(most(limit + PAGE, "0").await, pages + 1);
    let less = pages - most(limit, "1").await;
    assert!((16..=18).contains(&less), "{less} pages for the MiB of the other memory");
}

pub async fn tables() {
    // One more element of the first table holds the function of the second core module.
    let defined = elements(&composed()) + 1;
    for room in [0, 7] {
        let host = start("tables", defined + room).await;
        assert_eq!(most(&host, "grow/table", &format!("limits.tables, {}", defined + room)).await, room);
    }
}
