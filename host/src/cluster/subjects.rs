//! The NATS subjects of a cluster. All begin with its name.

use super::posts::ALL;
use crate::call::TopicKind;

/// The subjects of a cluster.
#[derive(Debug, Clone)]
pub(super) struct Subjects {
    prefix: String,
}

/// A name as one token of a subject. Names of nodes may contain dots, but no `~`.
fn token(name: &str) -> String {
    name.replace('.', "~")
}

impl Subjects {
    pub(super) fn new(cluster: &str) -> Subjects {
        Subjects { prefix: cluster.to_owned() }
    }

    /// The heartbeats of all nodes.
    pub(super) fn nodes(&self) -> String {
        format!("{}.nodes", self.prefix)
    }

    /// Requests for the facts about a node.
    pub(super) fn info(&self, node: &str) -> String {
        format!("{}.info.{}", self.prefix, token(node))
    }

    /// Requests that a node stops.
    pub(super) fn stop(&self, node: &str) -> String {
        format!("{}.stop.{}", self.prefix, token(node))
    }

    /// Calls to a node.
    pub(super) fn calls(&self, node: &str) -> String {
        format!("{}.call.{}", self.prefix, token(node))
    }

    /// The broadcasts of a module.
    pub(super) fn broadcasts(&self, module: &str) -> String {
        format!("{}.broadcast.{module}", self.prefix)
    }

    /// What is told about the topics of a bucket, or about all topics of a kind.
    pub(super) fn topics(&self, kind: TopicKind, place: usize) -> String {
        let kind = kind.as_str();
        match place {
            ALL => format!("{}.{kind}.all", self.prefix),
            bucket => format!("{}.{kind}.{bucket}", self.prefix),
        }
    }

    /// An answer to this process of the host.
    pub(super) fn answer(&self, boot: &str, token: u64) -> String {
        format!("{}.answer.{boot}.{token}", self.prefix)
    }

    /// The answer of one of several nodes that were asked at once.
    pub(super) fn answer_of(&self, boot: &str, token: u64, index: usize) -> String {
        format!("{}.answer.{boot}.{token}-{index}", self.prefix)
    }

    /// All answers to this process.
    pub(super) fn answers(&self, boot: &str) -> String {
        format!("{}.answer.{boot}.*", self.prefix)
    }

    /// The prefix of the answers of NATS itself.
    pub(super) fn inbox(&self) -> String {
        format!("{}.inbox", self.prefix)
    }
}

/// The number at the end of the subject of an answer.
pub(super) fn token_of(subject: &str) -> Option<u64> {
    let last = subject.rsplit('.').next()?;
    last.split_once('-').map_or(last, |(token, _)| token).parse().ok()
}

/// The index of the node at the end of the subject of its answer.
pub(super) fn index_of(subject: &str) -> Option<usize> {
    subject.rsplit_once('-')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_one_token() {
        let subjects = Subjects::new("fanfare");
        assert_eq!(subjects.calls("a.b."), "fanfare.call.a~b~");
        assert_eq!(token_of(&subjects.answer("x", 7)), Some(7));
        let of_one = subjects.answer_of("x", 7, 12);
        assert_eq!((token_of(&of_one), index_of(&of_one)), (Some(7), Some(12)));
    }
}
