//! Previous generations leave nothing behind.

use std::fs;

use sha2::{Digest, Sha256};

use super::component;
use crate::harness::{TestHost, eventually};

/// More generations than the host retains and lets drain together.
const VARIANTS: u8 = 8;

/// `echo` with a custom section, so that each variant has its own digest.
fn variant(number: u8) -> Vec<u8> {
    let mut bytes = component("echo");
    bytes.extend([0, 6, 4]);
    bytes.extend(b"flat");
    bytes.push(number);
    bytes
}

/// How many of these compiled components are mapped into memory.
fn mapped(digests: &[String]) -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    digests.iter().filter(|digest| maps.contains(*digest)).count()
}

#[tokio::test]
async fn old_artefacts_are_unmapped_and_only_three_generations_are_retained() {
    let host = TestHost::with("echo").start().await;
    let mut digests = Vec::new();
    for number in 0..VARIANTS {
        let bytes = variant(number);
        digests.push(Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        host.put("echo", "echo.wasm", &bytes);
        assert_eq!(host.reload("echo").await["outcome"], "swapped");
        assert_eq!(host.get("/api/echo/who").await.status, 200);
    }
    eventually("only the last artefact is mapped", || async { mapped(&digests) == 1 }).await;
    let kept = fs::read_dir(host.dir.path().join("state/generations/echo")).unwrap().count();
    assert_eq!(kept, 1 + 2 * 3, "the index, three manifests and three components");
}
