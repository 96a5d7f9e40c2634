//! Random operations on channels, thousands of runs, against a simple model of them: order,
//! completeness, epochs, members, announcements and limits.

mod checks;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::*;

const ROOMS: [&str; 3] = ["a", "b", "presence/a"];
const CHANNELS_OF_SESSION: usize = 2;
const STEPS: usize = 80;

/// What differs between the runs.
#[derive(Clone, Copy)]
struct Kind {
    history: u64,
    topics: u32,
    inbox: usize,
}

const ROOMY: Kind = Kind { history: u64::MAX, topics: 100, inbox: 10_000 };

/// Numbers that look random.
struct Random(u64);

impl Random {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % count as u64).unwrap()
    }
}

struct Guest {
    session: Arc<Session>,
    reader: Reader,
    /// What it has to receive since the fan-outs ran last.
    expected: String,
    has_ended: bool,
}

/// A channel that exists.
struct Alive {
    epoch: u64,
    settings: ChannelSettings,
    /// All messages since it exists.
    log: Vec<String>,
    /// The offsets of those that are kept.
    kept: VecDeque<u64>,
    /// The indexes of its members.
    members: BTreeSet<usize>,
}

#[derive(Default)]
struct Room {
    alive: Option<Alive>,
    /// The positions that clients may have seen.
    seen: Vec<(u64, u64)>,
}

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl ChannelListener for Heard {
    fn message(&self, _: &Arc<str>, message: &ChannelMessage, position: Option<ChannelPosition>) {
        let position = position.map(|at| (at.epoch, at.offset));
        self.0.lock().push(format!("{} {position:?}", message.payload.to_text()));
    }
}

struct Run {
    node: Node,
    kind: Kind,
    random: Random,
    guests: Vec<Guest>,
    rooms: [Room; 3],
    settings: [ChannelSettings; 3],
    listening: BTreeMap<usize, (Listening, Arc<Heard>, Vec<String>)>,
    epochs: BTreeSet<u64>,
    messages: usize,
}

impl Run {
    fn new(kind: Kind, seed: u64) -> Run {
        let node = Node::with(|limited| {
            limited.hub.history = kind.history;
            limited.hub.topics = kind.topics;
            limited.inbox = kind.inbox;
            limited.channels_of_session = u32::try_from(CHANNELS_OF_SESSION).unwrap();
        });
        let random = Random(seed);
        let (rooms, settings) = (Default::default(), [PLAIN, keeping(3), PLAIN]);
        let (listening, epochs) = (BTreeMap::new(), BTreeSet::new());
        Run { node, kind, random, guests: Vec::new(), rooms, settings, listening, epochs, messages: 0 }
    }

    fn run(mut self) {
        for _ in 0..STEPS {
            let (room, guest) = (self.random.below(3), self.random.below(self.guests.len().max(1)));
            let has_guest = self.guests.get(guest).is_some_and(|guest| !guest.has_ended);
            match self.random.below(20) {
                0 | 1 if self.guests.len() < 6 => self.open(),
                2 if has_guest => self.end(guest),
                3..=5 if !self.guests.is_empty() => self.subscribe(guest, room),
                6 if !self.guests.is_empty() => self.unsubscribe(guest, room),
                7..=11 => self.publish(room),
                12 => self.place(room),
                13 | 14 => self.resume(room),
                15 => self.settle(),
                16 => self.change_settings(room),
                17 => self.grow_old(),
                18 => self.listen(room),
                _ => self.check(),
            }
        }
        self.settle();
        self.check();
        (0..self.guests.len()).for_each(|guest| self.end(guest));
        self.listening.clear();
        self.grow_old();
        let totals = self.node.channels.totals();
        assert_eq!((totals.channels, totals.subscriptions), (0, 0));
        assert_eq!(self.node.bench.topics.memory().history(), 0);
    }

    fn open(&mut self) {
        let worker = u32::try_from(self.random.below(2)).unwrap();
        let (session, reader) = self.node.open(worker);
        self.guests.push(Guest { session, reader, expected: String::new(), has_ended: false });
    }

    fn end(&mut self, index: usize) {
        let guest = &mut self.guests[index];
        if std::mem::replace(&mut guest.has_ended, true) {
            return;
        }
        drop(self.node.sessions.end(&guest.session));
        for room in 0..ROOMS.len() {
            self.remove_member(index, room);
        }
    }

    fn is_idle(&self, room: usize) -> bool {
        let is_empty = self.rooms[room].alive.as_ref().is_some_and(|alive| alive.members.is_empty());
        is_empty && !self.listening.contains_key(&room)
    }

    /// Forgets a channel that nobody uses.
    fn drop_if_unused(&mut self, room: usize) {
        let is_empty = self.rooms[room].alive.as_ref().is_some_and(|alive| alive.kept.is_empty());
        if self.is_idle(room) && is_empty {
            self.rooms[room].alive = None;
        }
    }

    /// The model of a channel, which exists from now on.
    fn revive(&mut self, room: usize) -> &mut Alive {
        if self.rooms[room].alive.is_none() {
            let epoch = self.node.history(ROOMS[room], None).unwrap().epoch;
            assert!(self.epochs.insert(epoch), "an epoch came back");
            let settings = PLAIN;
            let alive = Alive { epoch, settings, log: Vec::new(), kept: VecDeque::new(), members: BTreeSet::new() };
            self.rooms[room].alive = Some(alive);
        }
        self.rooms[room].alive.as_mut().unwrap()
    }

    fn apply(&mut self, room: usize) {
        let settings = if room == 2 { PLAIN } else { self.settings[room] };
        let Some(alive) = &mut self.rooms[room].alive else { return };
        alive.settings = settings;
        while alive.kept.len() > settings.count {
            alive.kept.pop_front();
        }
    }

    /// Whether a channel can be added. One that nobody uses may have to leave.
    fn has_room(&mut self, room: usize) -> bool {
        let exists = |run: &Run, room: usize| run.rooms[room].alive.is_some();
        let count = (0..ROOMS.len()).filter(|room| exists(self, *room)).count();
        if exists(self, room) || count < self.kind.topics as usize {
            return true;
        }
        (0..ROOMS.len()).any(|room| self.is_idle(room))
    }

    fn subscribe(&mut self, index: usize, room: usize) {
        let (has_room, settings) = (self.has_room(room), self.settings[room]);
        let guest = &self.guests[index];
        let is_member = self.rooms[room].alive.as_ref().is_some_and(|alive| alive.members.contains(&index));
        let alive = self.rooms.iter().flat_map(|room| &room.alive);
        let joined = alive.filter(|alive| alive.members.contains(&index)).count();
        let expected = match () {
            () if guest.has_ended => Err(ChannelError::Ended),
            () if is_member => Ok(false),
            () if joined == CHANNELS_OF_SESSION => Err(ChannelError::SessionFull { max: 2 }),
            () if !has_room => Err(ChannelError::TooMany { max: self.kind.topics }),
            () => Ok(true),
        };
        assert_eq!(self.node.channels.subscribe(ROOMS[room], &guest.session, None, &settings), expected);
        self.notice_made_room(room);
        if expected == Ok(false) {
            self.apply(room);
        }
        if expected == Ok(true) {
            self.revive(room).members.insert(index);
            self.apply(room);
            self.announce("join", index, room);
        }
        self.drop_if_unused(room);
    }

    fn unsubscribe(&mut self, index: usize, room: usize) {
        let was_member = self.node.channels.unsubscribe(ROOMS[room], &self.guests[index].session);
        assert_eq!(was_member, self.remove_member(index, room));
    }

    fn remove_member(&mut self, index: usize, room: usize) -> bool {
        let alive = self.rooms[room].alive.as_mut();
        let was_member = alive.is_some_and(|alive| alive.members.remove(&index));
        if was_member {
            self.announce("leave", index, room);
            self.drop_if_unused(room);
        }
        was_member
    }

    fn announce(&mut self, action: &str, index: usize, room: usize) {
        let alive = self.rooms[room].alive.as_ref().unwrap();
        if room == 0 && alive.settings.presence && self.rooms[2].alive.is_some() {
            let (id, count) = (self.guests[index].session.id.split_once('/').unwrap().1, alive.members.len());
            let member = format!(r#"{{"id":"{id}","uid":null,"info":null}}"#);
            let text = format!(r#"{{"action":"{action}","member":{member},"count":{count}}}"#);
            self.rooms[2].alive.as_mut().unwrap().settings = PLAIN;
            self.added(2, &text, true);
        }
    }

    /// A message of a channel that exists got its place.
    fn added(&mut self, room: usize, text: &str, is_sent: bool) {
        let alive = self.rooms[room].alive.as_mut().unwrap();
        alive.log.push(text.to_owned());
        let (offset, is_kept) = (alive.log.len() as u64, alive.settings.count > 0);
        alive.kept.push_back(offset);
        while alive.kept.len() > alive.settings.count {
            alive.kept.pop_front();
        }
        self.rooms[room].seen.push((alive.epoch, offset));
        let position = is_kept.then_some((alive.epoch, offset));
        let at = if is_kept { format!("@{offset}") } else { String::new() };
        for member in alive.members.iter().filter(|_| is_sent) {
            self.guests[*member].expected.push_str(&format!("{}:{text}{at} ", ROOMS[room]));
        }
        if let Some((_, _, heard)) = self.listening.get_mut(&room) {
            heard.push(format!("{text} {position:?}"));
        }
    }

    /// Whether a message gets a place: the channel exists, or is added to keep it.
    fn is_placed(&self, room: usize) -> bool {
        let count = self.rooms.iter().filter(|room| room.alive.is_some()).count();
        self.rooms[room].alive.is_some() || (self.settings[room].count > 0 && count < self.kind.topics as usize)
    }

    fn next_text(&mut self) -> String {
        self.messages += 1;
        format!("m{}", self.messages)
    }

    fn publish(&mut self, room: usize) {
        let (text, is_placed) = (self.next_text(), self.is_placed(room));
        let message = Published { payload: text.as_str().into(), session: None, settings: &self.settings[room] };
        let published = self.node.channels.publish(ROOMS[room], message);
        let position = self.outcome(room, is_placed, published).flatten().map(|at| at.offset);
        self.published(room, &text, is_placed, position, true);
    }

    /// What a message that has no place fails with, if it is to be kept.
    fn outcome<T>(&self, room: usize, is_placed: bool, result: Result<T, ChannelError>) -> Option<T> {
        let is_refused = !is_placed && self.settings[room].count > 0;
        let expected = is_refused.then_some(ChannelError::TooMany { max: self.kind.topics });
        assert_eq!(result.as_ref().err(), expected.as_ref());
        result.ok()
    }

    fn published(&mut self, room: usize, text: &str, is_placed: bool, position: Option<u64>, is_sent: bool) {
        if !is_placed {
            return assert_eq!(position, None);
        }
        if self.rooms[room].alive.is_none() && self.node.history(ROOMS[room], None).is_none() {
            // It was not kept for long.
            assert!(self.kind.history < u64::MAX || room == 2, "a message is lost");
            return;
        }
        self.revive(room);
        self.apply(room);
        self.added(room, text, is_sent);
        let alive = self.rooms[room].alive.as_ref().unwrap();
        assert_eq!(position, (alive.settings.count > 0).then_some(alive.log.len() as u64));
        self.drop_if_unused(room);
        self.notice_evictions();
    }

    /// Sends a message to each member on its own, with a change for some.
    fn place(&mut self, room: usize) {
        let (text, is_placed) = (self.next_text(), self.is_placed(room));
        let settings = self.settings[room];
        let message = Published { payload: text.as_str().into(), session: None, settings: &settings };
        let placed = self.node.channels.place(ROOMS[room], message);
        let Some(placed) = self.outcome(room, is_placed, placed) else { return };
        let position = placed.position.map(|at| at.offset);
        self.published(room, &text, is_placed, position, false);
        let members = self.rooms[room].alive.as_ref().map(|alive| alive.members.clone()).unwrap_or_default();
        assert_eq!(placed.members.len(), members.len());
        let at = position.map(|offset| format!("@{offset}")).unwrap_or_default();
        for index in members {
            let session = self.guests[index].session.clone();
            let (payload, got) = match self.random.below(3) {
                0 => (None, text.clone()),
                1 => (Some(Payload::from(format!("for{index}"))), format!("for{index}")),
                _ => continue,
            };
            self.node.channels.deliver(&session, &placed, payload);
            self.guests[index].expected.push_str(&format!("{}:{got}{at} ", ROOMS[room]));
        }
    }

    fn change_settings(&mut self, room: usize) {
        let presence = self.random.below(2) == 0;
        let count = [0, 1, 3, 10][self.random.below(4)];
        self.settings[room] = ChannelSettings { presence, ..if count == 0 { PLAIN } else { keeping(count) } };
    }

    /// All messages become too old.
    fn grow_old(&mut self) {
        self.node.sweep(Duration::from_secs(1_000));
        for room in 0..ROOMS.len() {
            if let Some(alive) = &mut self.rooms[room].alive {
                alive.kept.clear();
            }
            self.drop_if_unused(room);
        }
    }

    fn listen(&mut self, room: usize) {
        if self.listening.remove(&room).is_some() {
            return self.drop_if_unused(room);
        }
        let (heard, has_room) = (Arc::new(Heard::default()), self.has_room(room));
        match self.node.channels.listen(ROOMS[room], heard.clone()) {
            Ok(listening) => {
                assert!(has_room);
                self.notice_made_room(room);
                self.revive(room);
                self.listening.insert(room, (listening, heard, Vec::new()));
            }
            Err(error) => assert!(!has_room && error == ChannelError::TooMany { max: self.kind.topics }),
        }
    }
}

/// Runs a kind with many seeds. The last line of a failure names the seed.
fn check(kind: Kind, runs: u64) {
    for seed in 0..runs {
        let failed = std::panic::catch_unwind(|| Run::new(kind, seed).run());
        assert!(failed.is_ok(), "the run with the seed {seed} has failed");
    }
}

#[test]
fn random_operations_do_what_the_model_does() {
    check(ROOMY, 2_000);
}

#[test]
fn random_operations_do_what_the_model_does_although_histories_shrink() {
    check(Kind { history: 2_000, ..ROOMY }, 1_500);
}

#[test]
fn random_operations_do_what_the_model_does_although_channels_make_room() {
    check(Kind { topics: 2, ..ROOMY }, 1_500);
}

#[test]
fn random_operations_do_what_the_model_does_although_inboxes_are_full() {
    check(Kind { inbox: 6, ..ROOMY }, 1_500);
}
