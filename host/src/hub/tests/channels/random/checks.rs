//! Compares the hub with the model.

use super::*;
use crate::call::channel::ListSize;

impl Run {
    /// Learns which channel has left for another one.
    pub(super) fn notice_made_room(&mut self, room: usize) {
        let mut left = 0;
        for other in (0..ROOMS.len()).filter(|other| *other != room) {
            if self.rooms[other].alive.is_some() && self.node.history(ROOMS[other], None).is_none() {
                assert!(self.is_idle(other));
                self.rooms[other].alive = None;
                left += 1;
            }
        }
        assert!(left <= 1);
    }

    /// Learns what histories have dropped because of `hub.history`, and checks that they had to.
    pub(super) fn notice_evictions(&mut self) {
        if self.kind.history == u64::MAX {
            return;
        }
        assert!(self.node.bench.topics.memory().history() <= self.kind.history);
        let cost = |run: &Run, room: usize| -> u64 {
            let Some(alive) = &run.rooms[room].alive else { return 0 };
            let cost = |offset: &u64| alive.log[usize::try_from(*offset).unwrap() - 1].len() * 2 + ROOMS[room].len();
            alive.kept.iter().map(|offset| FRAME + 64 + cost(offset) as u64).sum()
        };
        let total: u64 = (0..ROOMS.len()).map(|room| cost(self, room)).sum();
        for (room, name) in ROOMS.into_iter().enumerate() {
            let Some(alive) = &mut self.rooms[room].alive else { continue };
            let kept = self.node.history(name, None).map(|page| page.messages.len()).unwrap_or_default();
            let dropped = alive.kept.len().checked_sub(kept).unwrap();
            assert!(dropped == 0 || total > self.kind.history, "{name} lost {dropped} of {total} bytes");
            alive.kept.drain(..dropped);
            self.drop_if_unused(room);
        }
    }

    /// A client asks for what it has missed.
    pub(super) fn resume(&mut self, room: usize) {
        let seen = &self.rooms[room].seen;
        let after = (!seen.is_empty()).then(|| seen[self.random.below(seen.len())]);
        let after = after.map(|(epoch, offset)| (epoch, (offset + self.random.below(3) as u64).saturating_sub(1)));
        let most = [1, 2, 1_000][self.random.below(3)];
        let after = after.filter(|_| self.random.below(4) > 0);
        self.check_page(room, after, most);
    }

    pub(super) fn check_page(&self, room: usize, after: Option<(u64, u64)>, most: usize) {
        let position = after.map(|(epoch, offset)| ChannelPosition { epoch, offset });
        let page = self.node.channels.history(ROOMS[room], position, most, u64::MAX);
        let Some(alive) = &self.rooms[room].alive else { return assert_eq!(page, None) };
        let page = page.unwrap();
        let latest = alive.log.len() as u64;
        let first = alive.kept.front().copied().unwrap_or(latest + 1);
        let known = after.filter(|(epoch, at)| *epoch == alive.epoch && *at <= latest && *at + 1 >= first);
        let offsets: Vec<u64> = match after {
            Some(_) => {
                let after = known.map_or(0, |(_, offset)| offset);
                alive.kept.iter().copied().filter(|offset| *offset > after).take(most).collect()
            }
            None => alive.kept.iter().copied().skip(alive.kept.len().saturating_sub(most)).collect(),
        };
        let complete = match after {
            Some(_) => known.is_some(),
            None => latest == 0 || offsets.first() == Some(&1),
        };
        let text = |offset: &u64| format!("{}@{offset} ", alive.log[usize::try_from(*offset).unwrap() - 1]);
        assert_eq!(texts(&page), offsets.iter().map(text).collect::<String>());
        assert_eq!((page.epoch, page.latest, page.complete), (alive.epoch, latest, complete), "{after:?}");
    }

    /// Runs the fan-outs, and checks what each client has received. One that a full inbox has cut
    /// has received a part.
    pub(super) fn settle(&mut self) {
        self.node.bench.run();
        let mut cut = Vec::new();
        for (index, guest) in self.guests.iter_mut().enumerate() {
            let (expected, received) =
                (std::mem::take(&mut guest.expected), guest.reader.received().replace("open:- ", ""));
            if guest.reader.is_open() {
                assert_eq!(received, expected);
            } else {
                assert!(self.kind.inbox < 10_000 && expected.starts_with(&received), "{received} of {expected}");
                cut.push(index);
            }
        }
        cut.into_iter().for_each(|index| self.end(index));
    }

    /// Compares all that can be asked with the model.
    pub(super) fn check(&self) {
        for (room, name) in ROOMS.into_iter().enumerate() {
            self.check_page(room, None, 1_000);
            let members = self.rooms[room].alive.as_ref().map(|alive| alive.members.clone()).unwrap_or_default();
            let mut ids: Vec<_> = members.iter().map(|index| self.guests[*index].session.id.clone()).collect();
            ids.sort();
            let found: Vec<_> = self
                .node
                .channels
                .members(name, &ListSize::ANY)
                .unwrap()
                .into_iter()
                .map(|member| member.session)
                .collect();
            assert_eq!((found, self.node.channels.count(name) as usize), (ids, members.len()));
            for (index, guest) in self.guests.iter().enumerate() {
                let is_member = members.contains(&index);
                assert_eq!(self.node.channels.is_subscribed(name, &guest.session), is_member);
            }
            if let Some((_, heard, expected)) = self.listening.get(&room) {
                assert_eq!(*heard.0.lock(), *expected);
            }
        }
        let alive = self.rooms.iter().filter(|room| room.alive.is_some()).count();
        let members = self.rooms.iter().flat_map(|room| &room.alive).map(|alive| alive.members.len()).sum::<usize>();
        let totals = self.node.channels.totals();
        assert_eq!((totals.channels as usize, totals.subscriptions as usize), (alive, members));
        assert_eq!(self.node.channels.list(10).len(), alive);
    }
}
