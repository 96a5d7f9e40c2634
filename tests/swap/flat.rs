//! What is left of generations that served: nothing.

use std::fs;

use sha2::{Digest, Sha256};

use super::component;
use crate::harness::{TestHost, eventually};

/// More than are kept and may drain together.
const VARIANTS: u8 = 8;

/// A component of its own digest: unlike the others it has a section that says so.
fn variant(number: u8) -> Vec<u8> {
    let mut bytes = component("echo");
    bytes.extend([0, 6, 4]);
    bytes.extend(b"flat");
    bytes.push(number);
    bytes
}

/// How many compiled components of these are mapped.
fn mapped(digests: &[String]) -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    digests.iter().filter(|digest| maps.contains(*digest)).count()
}

#[tokio::test]
async fn no_artefact_stays_mapped_and_few_generations_are_kept() {
    let host = TestHost::with("echo").start().await;
    let mut digests = Vec::new();
    for number in 0..VARIANTS {
        let bytes = variant(number);
        digests.push(Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        host.put("echo", "echo.wasm", &bytes);
        assert_eq!(host.reload("echo").await["outcome"], "swapped");
        assert_eq!(host.get("/api/echo/who").await.status, 200);
    }
    eventually("only the last one is mapped", || async { mapped(&digests) == 1 }).await;
    let kept = fs::read_dir(host.dir.path().join("state/generations/echo")).unwrap().count();
    assert_eq!(kept, 1 + 2 * 3, "the index, three manifests and three components");
}
