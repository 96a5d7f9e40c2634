//! The events of the host that clients have not answered.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::timeout_at;

use crate::call::{CallError, Failure, Payload};
use crate::triggers::websocket::flow::{Awaited, Flow};

/// The answer of a client.
type Answered = Result<Payload, Failure>;

/// An open session.
#[derive(Debug)]
struct OfSession {
    flow: Arc<Flow>,
    /// Its questions, by their numbers.
    waiting: HashMap<u64, Waiting>,
}

/// A question without an answer.
#[derive(Debug)]
struct Waiting {
    sender: oneshot::Sender<Answered>,
    /// Then nobody waits for the answer any more, even if the question still exists: a guest may
    /// keep its future without reading it.
    until: Instant,
    _awaited: Awaited,
}

/// The questions of a node.
#[derive(Debug)]
pub struct Questions {
    open: Mutex<HashMap<Arc<str>, OfSession>>,
    /// The number of the last question.
    last: AtomicU64,
    /// The most questions of one session.
    max: usize,
}

/// A question that waits for its answer. Dropping it forgets the question.
#[derive(Debug)]
pub struct Question {
    questions: Arc<Questions>,
    session: Arc<str>,
    pub cid: u64,
    until: Instant,
    answer: oneshot::Receiver<Answered>,
}

impl Questions {
    pub fn new(max: u32) -> Questions {
        Questions { open: Mutex::default(), last: AtomicU64::new(0), max: max as usize }
    }

    /// The session may be asked, until [`Questions::end`]. `flow` has its messages, which bring the
    /// answers.
    pub fn begin(&self, session: &Arc<str>, flow: &Arc<Flow>) {
        let of_session = OfSession { flow: flow.clone(), waiting: HashMap::new() };
        self.open.lock().insert(session.clone(), of_session);
    }

    /// Adds a question to a session. It may be answered for the duration of `timeout`, from now.
    pub fn ask(self: &Arc<Questions>, session: &Arc<str>, timeout: Duration) -> Result<Question, CallError> {
        let (sender, answer) = oneshot::channel();
        let cid = self.last.fetch_add(1, Relaxed) + 1;
        let mut open = self.open.lock();
        let Some(OfSession { flow, waiting }) = open.get_mut(session) else { return Err(ended()) };
        let now = Instant::now();
        if waiting.len() >= self.max {
            waiting.retain(|_, question| question.until > now);
        }
        if waiting.len() >= self.max {
            return Err(CallError::Overloaded(format!(
                "{} messages wait for an answer of this client, the maximum (websocket.inFlight): ask later",
                self.max
            )));
        }
        let until = now + timeout;
        waiting.insert(cid, Waiting { sender, until, _awaited: flow.await_answer() });
        Ok(Question { questions: self.clone(), session: session.clone(), cid, until, answer })
    }

    /// Gives the answer of a client to the question. Too late or unknown: nothing happens.
    pub fn answer(&self, session: &str, cid: u64, answer: Answered) {
        let question = self.open.lock().get_mut(session).and_then(|of_session| of_session.waiting.remove(&cid));
        if let Some(Waiting { sender, .. }) = question {
            _ = sender.send(answer);
        }
    }

    /// The session has ended, so that no answer will arrive.
    pub fn end(&self, session: &str) {
        let ended = self.open.lock().remove(session);
        drop(ended);
    }

    #[cfg(test)]
    fn sessions(&self) -> usize {
        self.open.lock().len()
    }
}

impl Question {
    /// Waits for the answer.
    pub async fn answer(mut self) -> Result<Payload, CallError> {
        match timeout_at(self.until.into(), &mut self.answer).await {
            Ok(Ok(answer)) => answer.map_err(CallError::Failure),
            Ok(Err(_)) if Instant::now() < self.until => Err(ended()),
            Ok(Err(_)) | Err(_) => Err(CallError::Timeout(None)),
        }
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        let mut open = self.questions.open.lock();
        if let Some(of_session) = open.get_mut(&self.session) {
            of_session.waiting.remove(&self.cid);
        }
    }
}

fn ended() -> CallError {
    CallError::Unavailable("the session ended before its client answered".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_question_gets_its_answer_once_or_the_end_of_the_session() {
        let questions = Arc::new(Questions::new(2));
        let (one, other): (Arc<str>, Arc<str>) = ("n/one".into(), "n/other".into());
        assert!(matches!(questions.ask(&one, LONG), Err(CallError::Unavailable(_))), "it is not open");
        let flow = Flow::new(1, &Arc::default());
        questions.begin(&one, &flow);
        questions.begin(&other, &flow);
        let first = questions.ask(&one, LONG).unwrap();
        let second = questions.ask(&one, LONG).unwrap();
        assert!(matches!(questions.ask(&one, LONG), Err(CallError::Overloaded(_))));
        let third = questions.ask(&other, LONG).unwrap();
        // A client answers only its own questions.
        questions.answer(&other, first.cid, Ok(Payload::None));
        questions.answer(&one, second.cid, Ok(Payload::Text("2".into())));
        questions.answer(&one, second.cid, Ok(Payload::Text("3".into())));
        assert_eq!(second.answer().await, Ok(Payload::Text("2".into())));
        questions.end(&one);
        assert!(matches!(first.answer().await, Err(CallError::Unavailable(_))));
        let failure = Failure { name: "No".into(), ..Failure::default() };
        questions.answer(&other, third.cid, Err(failure.clone()));
        assert_eq!(third.answer().await, Err(CallError::Failure(failure)));
        assert_eq!(questions.sessions(), 1);
        questions.end(&other);
        assert_eq!(questions.sessions(), 0);
    }

    #[tokio::test]
    async fn a_question_that_nobody_reads_holds_no_place_after_its_time() {
        let questions = Arc::new(Questions::new(2));
        let one: Arc<str> = "n/one".into();
        let flow = Flow::new(1, &Arc::default());
        questions.begin(&one, &flow);
        let unread = [Duration::ZERO, LONG].map(|timeout| questions.ask(&one, timeout).unwrap());
        let asked = questions.ask(&one, LONG).unwrap();
        assert!(matches!(questions.ask(&one, LONG), Err(CallError::Overloaded(_))), "two may wait");
        let [late, in_time] = unread;
        assert_eq!(late.answer().await, Err(CallError::Timeout(None)));
        for question in [&in_time, &asked] {
            questions.answer(&one, question.cid, Ok(Payload::None));
        }
        assert_eq!((in_time.answer().await, asked.answer().await), (Ok(Payload::None), Ok(Payload::None)));
    }
}
