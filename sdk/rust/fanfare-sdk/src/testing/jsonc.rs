//! JSON with comments and trailing commas, which manifests may contain.

/// Removes comments and trailing commas.
pub(super) fn to_json(text: &str) -> String {
    let mut json = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match (character, rest.peek()) {
            ('"', _) => {
                json.push('"');
                while let Some(inside) = rest.next() {
                    json.push(inside);
                    match inside {
                        '"' => break,
                        '\\' => json.extend(rest.next()),
                        _ => {}
                    }
                }
            }
            ('/', Some('/')) => while rest.next_if(|next| *next != '\n').is_some() {},
            ('/', Some('*')) => {
                rest.next();
                let mut last = ' ';
                for inside in rest.by_ref() {
                    if last == '*' && inside == '/' {
                        break;
                    }
                    last = inside;
                }
            }
            (']' | '}', _) => {
                let kept = json.trim_end().len();
                if json[..kept].ends_with(',') {
                    json.truncate(kept - 1);
                }
                json.push(character);
            }
            _ => json.push(character),
        }
    }
    json
}

#[cfg(test)]
mod tests {
    use super::to_json;

    #[test]
    fn comments_and_trailing_commas_are_removed() {
        let text = "{ // one\n \"a\": [1, /* two , */ 2, ], \"b\": \"// \\\" ,]\",\n}";
        let value: serde_json::Value = serde_json::from_str(&to_json(text)).unwrap();
        assert_eq!(value, serde_json::json!({"a": [1, 2], "b": "// \" ,]"}));
    }
}
