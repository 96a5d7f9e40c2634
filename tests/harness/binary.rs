//! The form of WebAssembly: what modules and components are made of.

/// LEB128.
pub fn number(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// The items behind their number.
pub fn vector<T: AsRef<[u8]>>(items: impl IntoIterator<Item = T>) -> Vec<u8> {
    let items: Vec<T> = items.into_iter().collect();
    let bytes = items.iter().flat_map(|item| item.as_ref()).copied();
    number(items.len() as u32).into_iter().chain(bytes).collect()
}

/// The content behind the section's number and its length.
pub fn section(id: u8, content: Vec<u8>) -> Vec<u8> {
    [vec![id], number(content.len() as u32), content].concat()
}
