//! Encodes parts of the binary format of WebAssembly.

/// Encodes a number as LEB128.
pub fn number(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// Encodes a vector: the number of its items, then the items.
pub fn vector<T: AsRef<[u8]>>(items: impl IntoIterator<Item = T>) -> Vec<u8> {
    let items: Vec<T> = items.into_iter().collect();
    let bytes = items.iter().flat_map(|item| item.as_ref()).copied();
    number(items.len() as u32).into_iter().chain(bytes).collect()
}

/// Encodes a section: its id, the length of its content, then the content.
pub fn section(id: u8, content: Vec<u8>) -> Vec<u8> {
    [vec![id], number(content.len() as u32), content].concat()
}
