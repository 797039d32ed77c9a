//! Rounds: while a question is being answered, those who ask it wait together for the next answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::{Answer, Question};

/// Whoever waits for an answer that takes longer than this asks beside it.
pub(super) const TURN_MAX: Duration = Duration::from_millis(100);

/// An answer once it is there.
type Awaited = Option<Arc<Answer>>;

/// Questions that are being answered, each with the round that waits behind it. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Rounds(Arc<Mutex<HashMap<Question, Option<Round>>>>);

/// Those who wait for the same next answer.
pub(super) struct Round {
    answer: watch::Receiver<Awaited>,
    turn: oneshot::Sender<()>,
}

/// What somebody who asks has to do.
pub(super) enum Part {
    Ask(Turn),
    AskNext(Turn, oneshot::Receiver<()>),
    Wait(watch::Receiver<Awaited>),
}

impl Rounds {
    pub fn join(&self, question: &Question) -> Part {
        let (tell, answer) = watch::channel(None);
        let turn = |place| Turn {
            rounds: self.clone(),
            question: question.clone(),
            tell,
            place,
        };
        let mut asked = self.asked();
        match asked.get_mut(question) {
            None => {
                asked.insert(question.clone(), None);
                Part::Ask(turn(Place::Running))
            }
            Some(Some(round)) => Part::Wait(round.answer.clone()),
            Some(waiting @ None) => {
                let (begin, begun) = oneshot::channel();
                *waiting = Some(Round {
                    answer,
                    turn: begin,
                });
                Part::AskNext(turn(Place::Waiting), begun)
            }
        }
    }

    pub fn asked(&self) -> MutexGuard<'_, HashMap<Question, Option<Round>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where somebody stands who asks for a round.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Waiting,
    /// Holds the place of the question that is being answered.
    Running,
    /// Waited long enough: asks without holding up those behind.
    Beside,
}

/// The right to ask for a round, passed on when dropped.
pub(super) struct Turn {
    rounds: Rounds,
    question: Question,
    tell: watch::Sender<Awaited>,
    place: Place,
}

impl Turn {
    /// Whether others wait for the answer.
    pub fn is_awaited(&self) -> bool {
        self.tell.receiver_count() > 0
    }

    pub fn tell(&self, answer: Arc<Answer>) {
        self.tell.send_replace(Some(answer));
    }

    /// Waits until the answer before this one is there, though not for long. Whoever asks from then on is of
    /// another round.
    pub async fn come(&mut self, begun: oneshot::Receiver<()>) {
        let has_come = matches!(timeout(TURN_MAX, begun).await, Ok(Ok(())));
        // It may have come at the last moment.
        self.place = match !has_come && self.withdraw() {
            true => Place::Beside,
            false => Place::Running,
        };
    }

    /// Ends waiting; false if the turn had come.
    fn withdraw(&self) -> bool {
        let mut asked = self.rounds.asked();
        let Some(waiting) = asked.get_mut(&self.question) else {
            return false;
        };
        let own = self.tell.subscribe();
        let is_own = waiting
            .as_ref()
            .is_some_and(|round| own.same_channel(&round.answer));
        if is_own {
            *waiting = None;
        }
        is_own
    }

    /// Lets the next round begin.
    fn pass_on(&self) {
        let mut asked = self.rounds.asked();
        let next = asked.get_mut(&self.question).and_then(Option::take);
        // Whoever is next but has gone passes it on himself.
        let is_passed_on = next.is_some_and(|round| round.turn.send(()).is_ok());
        if !is_passed_on {
            asked.remove(&self.question);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        match self.place {
            Place::Beside => {}
            Place::Waiting if self.withdraw() => {}
            Place::Waiting | Place::Running => self.pass_on(),
        }
    }
}
