//! Names of servers on the command line: ids, server types, and ranges such as `chat-1~3`.

use fanfare::tooling::document::shape::did_you_mean;

/// The most servers that a range names.
const MAX_RANGE: u64 = 1_000;

/// A server that can be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named<'a> {
    pub id: &'a str,
    pub server: &'a str,
}

/// The servers that the names mean, in the order of `all` and each once. Without names, all.
pub fn select<'a>(names: &[String], all: &[Named<'a>]) -> Result<Vec<Named<'a>>, String> {
    if names.is_empty() {
        return Ok(all.to_vec());
    }
    let mut chosen = vec![false; all.len()];
    for name in names {
        let ids = range(name)?.unwrap_or_else(|| vec![name.clone()]);
        for wanted in &ids {
            let mut found = false;
            for (mark, named) in chosen.iter_mut().zip(all) {
                // A name that is an id and a type means the id.
                let is_id = all.iter().any(|named| named.id == wanted);
                if named.id == wanted || (!is_id && named.server == wanted) {
                    *mark = true;
                    found = true;
                }
            }
            if !found {
                return Err(unknown(wanted, all));
            }
        }
    }
    Ok(all.iter().zip(chosen).filter(|(_, chosen)| *chosen).map(|(named, _)| *named).collect())
}

/// The ids of a range: `chat-1~3` means `chat-1`, `chat-2` and `chat-3`. `None` without `~`.
fn range(name: &str) -> Result<Option<Vec<String>>, String> {
    let Some((first, last)) = name.split_once('~') else { return Ok(None) };
    let stem = first.trim_end_matches(|c: char| c.is_ascii_digit());
    let first = first.get(stem.len()..).unwrap_or_default().parse::<u64>();
    let (Ok(first), Ok(last)) = (first, last.parse::<u64>()) else {
        return Err(format!("{name:?} is no range: write the first id and the last number, such as chat-1~3"));
    };
    if first > last || last - first >= MAX_RANGE {
        return Err(format!("{name:?} must name 1 to {MAX_RANGE} servers, the first one first, such as chat-1~3"));
    }
    Ok(Some((first..=last).map(|number| format!("{stem}{number}")).collect()))
}

fn unknown(name: &str, all: &[Named]) -> String {
    let mut known: Vec<&str> = all.iter().flat_map(|named| [named.server, named.id]).collect();
    known.sort_unstable();
    known.dedup();
    let hint = did_you_mean(name, &known);
    let listed = if known.is_empty() { "there are none".to_owned() } else { format!("there are {}", known.join(", ")) };
    format!("{name:?} is no server and no server type: {listed}{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[Named] = &[
        Named { id: "con-1", server: "con" },
        Named { id: "con-2", server: "con" },
        Named { id: "con-3", server: "con" },
        Named { id: "chat-1", server: "chat" },
        Named { id: "chat", server: "odd" },
    ];

    fn ids(names: &[&str]) -> Result<Vec<&'static str>, String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Ok(select(&names, ALL)?.into_iter().map(|named| named.id).collect())
    }

    #[test]
    fn ids_types_and_ranges_name_servers() {
        assert_eq!(ids(&[]).unwrap().len(), 5);
        assert_eq!(ids(&["con"]).unwrap(), ["con-1", "con-2", "con-3"]);
        assert_eq!(ids(&["chat-1", "con-2"]).unwrap(), ["con-2", "chat-1"], "in the order of the file");
        assert_eq!(ids(&["con-2~3", "con-3"]).unwrap(), ["con-2", "con-3"]);
        assert_eq!(ids(&["con-1~1"]).unwrap(), ["con-1"]);
        assert_eq!(ids(&["chat"]).unwrap(), ["chat"], "an id counts before a type");
    }

    #[test]
    fn a_name_that_nobody_has_is_an_error_with_those_that_exist() {
        let error = ids(&["con-3~4"]).unwrap_err();
        assert!(error.starts_with("\"con-4\" is no server and no server type: there are chat, chat-1, con"), "{error}");
        assert!(ids(&["cot"]).unwrap_err().ends_with("; did you mean \"con\"?"));
        for text in ["con-~3", "con-1~", "con-3~1", "con-1~2000", "~", "con-1~x"] {
            assert!(ids(&[text]).unwrap_err().contains("chat-1~3"), "{text}");
        }
    }
}
