use std::time::Duration;

use tempfile::TempDir;
use wasmtime::CacheStore;

use super::*;

const SIZE: u64 = 1 << 20;

fn key(n: u8) -> Key {
    [n; SUM]
}

/// Compiles the functions `1..=count` of a compiler, whose code is 100 bytes.
fn compile(dir: &Path, compatibility: u64, count: u8) -> FunctionCounts {
    let functions = Functions::open(dir, compatibility, SIZE);
    for n in 1..=count {
        match functions.get(&key(n)) {
            Some(code) => assert_eq!(*code, [n; 100], "the code of another function"),
            None => assert!(functions.insert(&key(n), vec![n; 100])),
        }
    }
    functions.save().unwrap();
    functions.counts()
}

fn counts(compiled: u64, reused: u64) -> FunctionCounts {
    FunctionCounts { compiled, reused }
}

fn packs(dir: &Path) -> Vec<PathBuf> {
    packs_in(dir).unwrap().into_iter().map(|pack| pack.path).collect()
}

#[test]
fn functions_are_reused_and_only_new_ones_are_written() {
    let dir = TempDir::new().unwrap();
    assert_eq!(compile(dir.path(), 1, 3), counts(3, 0));
    assert_eq!(compile(dir.path(), 1, 5), counts(2, 3));
    assert_eq!(packs(dir.path()).len(), 2);
    assert_eq!(compile(dir.path(), 1, 5), counts(0, 5));
    assert_eq!(packs(dir.path()).len(), 2, "nothing new");
}

#[test]
fn another_compiler_uses_none_of_them() {
    let dir = TempDir::new().unwrap();
    compile(dir.path(), 1, 3);
    assert_eq!(compile(dir.path(), 2, 3), counts(3, 0));
    assert_eq!(compile(dir.path(), 1, 3), counts(0, 3));
}

#[test]
fn a_damaged_function_is_compiled_again_and_written() {
    let dir = TempDir::new().unwrap();
    compile(dir.path(), 1, 3);
    let pack = &packs(dir.path())[0];
    let mut bytes = fs::read(pack).unwrap();
    let second = bytes.windows(100).position(|code| code == [2; 100]).unwrap();
    bytes[second + 50] ^= 1;
    fs::write(pack, bytes).unwrap();
    assert_eq!(compile(dir.path(), 1, 3), counts(1, 2));
    assert_eq!(compile(dir.path(), 1, 3), counts(0, 3));
}

#[test]
fn a_damaged_table_makes_its_pack_useless_and_harms_nothing() {
    let good = TempDir::new().unwrap();
    compile(good.path(), 1, 3);
    let name = packs(good.path())[0].file_name().unwrap().to_owned();
    let bytes = fs::read(&packs(good.path())[0]).unwrap();
    let mut damaged: Vec<Vec<u8>> = (0..HEAD + 3 * ROW).map(|at| flipped(&bytes, at)).collect();
    damaged.extend([0, 1, HEAD - 1, HEAD, HEAD + ROW].map(|length| bytes[..length].to_vec()));
    for bytes in damaged {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join(&name), bytes).unwrap();
        assert_eq!(compile(dir.path(), 1, 3), counts(3, 0));
    }
    // The end of a pack only damages the last function.
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join(&name), &bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(compile(dir.path(), 1, 3), counts(1, 2));
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 0x80;
    bytes
}

#[test]
fn a_compilation_writes_no_more_than_the_size() {
    let dir = TempDir::new().unwrap();
    let file = (HEAD + ROW + 100) as u64;
    for (size, written) in [(file - 1, 0), (file, 1)] {
        let functions = Functions::open(dir.path(), 1, size);
        functions.insert(&key(1), vec![1; 100]);
        functions.save().unwrap();
        assert_eq!(packs(dir.path()).len(), written);
    }
    let functions = Functions::open(dir.path(), 2, 100);
    assert!(functions.insert(&key(1), vec![1; 100]) && !functions.insert(&key(2), vec![2]));
}

/// Writes a pack that was last used a number of minutes ago.
fn used_ago(dir: &Path, minutes: u64) -> PathBuf {
    let path = dir.join(format!("{minutes:04}.{EXTENSION}"));
    fs::write(&path, [0; 10]).unwrap();
    let then = SystemTime::now() - Duration::from_secs(60 * minutes);
    File::options().write(true).open(&path).unwrap().set_modified(then).unwrap();
    path
}

#[test]
fn the_least_recently_used_packs_are_removed_beyond_the_size_and_the_number() {
    let dir = TempDir::new().unwrap();
    let [old, newer, newest] = [30, 20, 10].map(|minutes| used_ago(dir.path(), minutes));
    assert_eq!(trim(dir.path(), 30).unwrap(), 0);
    assert_eq!(trim(dir.path(), 29).unwrap(), 1);
    assert_eq!(packs(dir.path()), [newer, newest]);
    assert!(!old.exists());

    let dir = TempDir::new().unwrap();
    let oldest = used_ago(dir.path(), PACKS as u64 + 1);
    for minutes in 1..PACKS as u64 {
        used_ago(dir.path(), minutes);
    }
    assert_eq!(trim(dir.path(), u64::MAX).unwrap(), 0);
    used_ago(dir.path(), 0);
    assert_eq!(trim(dir.path(), u64::MAX).unwrap(), 1);
    assert!(!oldest.exists() && packs(dir.path()).len() == PACKS);
}

#[test]
fn a_pack_that_is_used_stays() {
    let dir = TempDir::new().unwrap();
    compile(dir.path(), 1, 1);
    let used = packs(dir.path())[0].clone();
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    File::options().write(true).open(&used).unwrap().set_modified(long_ago).unwrap();
    let unused = used_ago(dir.path(), 5);
    compile(dir.path(), 1, 1);
    assert_eq!(packs(dir.path()), [unused, used]);
}
