//! What is said in generated calls: the shape of a script, and the words that vary in it. The
//! scripts themselves are in `lines`.

use rand::{Rng, RngExt};
use serde_json::{Map, Value};

/// What an agent's calls are about, step by step.
pub struct Script {
    pub greetings: &'static [&'static str],
    pub steps: &'static [Step],
    /// Said to a machine that answers an outbound call.
    pub voicemail: &'static str,
    pub summary: &'static str,
    pub outcome: &'static str,
}

/// Something the user says, and the answer to it.
pub struct Step {
    pub user: &'static [&'static str],
    pub agent: &'static [&'static str],
    pub tool: Option<Tool>,
}

/// What the agent looks up or changes before it answers.
pub struct Tool {
    pub name: &'static str,
    pub arguments: &'static [(&'static str, &'static str)],
    pub result: &'static [(&'static str, &'static str)],
    pub error: &'static str,
}

/// Steps that fit in anywhere.
pub const ASIDES: &[Step] = &[
    Step {
        user: &[
            "Sorry, can you say that again?",
            "Hang on, I did not catch that.",
        ],
        agent: &["Of course. Let me put it more simply for you."],
        tool: None,
    },
    Step {
        user: &[
            "Wait, am I talking to a person?",
            "Are you a robot, by the way?",
        ],
        agent: &["I am an automated assistant. I can pass you to a colleague whenever you like."],
        tool: None,
    },
    Step {
        user: &[
            "One second, there is someone at my door.",
            "Give me a moment, I need my glasses.",
        ],
        agent: &["Take your time, I will stay on the line."],
        tool: None,
    },
];

pub const CLOSING: Step = Step {
    user: &[
        "No, that was everything. Thanks.",
        "That is all, thank you very much.",
        "Great, bye then.",
    ],
    agent: &[
        "You are welcome. Have a good day, goodbye.",
        "Happy to help. Goodbye.",
    ],
    tool: None,
};

pub const VOICEMAIL_GREETING: &str =
    "Hello, I cannot come to the phone right now. Please leave a message after the tone.";

/// Short enough for a store of millions.
pub const SHORT: Step = Step {
    user: &["Yes, please.", "Not today.", "The second one."],
    agent: &["All right.", "That is noted.", "One moment."],
    tool: None,
};

/// The words that vary, the same throughout a call.
pub struct Blanks([(&'static str, String); 5]);

const NAMES: &[&str] = &[
    "Alex", "Sam", "Robin", "Jamie", "Kim", "Noor", "Maya", "Leo", "Ines", "Tom",
];
const DAYS: &[&str] = &["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"];
const TIMES: &[&str] = &[
    "nine o'clock",
    "half past ten",
    "two in the afternoon",
    "a quarter to four",
];

impl Blanks {
    pub fn draw(rng: &mut impl Rng) -> Self {
        Self([
            ("{name}", one_of(rng, NAMES).to_string()),
            ("{day}", one_of(rng, DAYS).to_string()),
            ("{time}", one_of(rng, TIMES).to_string()),
            (
                "{amount}",
                format!("{} euros", rng.random_range(3..40i32) * 5),
            ),
            ("{number}", rng.random_range(10_000..100_000i32).to_string()),
        ])
    }

    pub fn fill(&self, text: &str) -> String {
        if !text.contains('{') {
            return text.to_owned();
        }
        self.0.iter().fold(text.to_owned(), |text, (blank, word)| {
            text.replace(blank, word)
        })
    }

    pub fn object(&self, pairs: &[(&str, &str)]) -> Value {
        let filled = pairs
            .iter()
            .map(|(name, text)| ((*name).to_owned(), Value::from(self.fill(text))));
        Value::Object(filled.collect::<Map<_, _>>())
    }
}

/// Any of a list that is never empty.
pub fn one_of<'a, T>(rng: &mut impl Rng, items: &'a [T]) -> &'a T {
    &items[rng.random_range(0..items.len())]
}

/// Any of a list that is never empty, as often as their shares say.
pub fn by_share<'a, T>(rng: &mut impl Rng, items: &'a [T], share: impl Fn(&T) -> u32) -> &'a T {
    let mut drawn = rng.random_range(0..items.iter().map(&share).sum());
    let found = items.iter().position(|item| {
        let is_here = drawn < share(item);
        drawn = drawn.saturating_sub(share(item));
        is_here
    });
    &items[found.unwrap_or_default()]
}

pub fn word_count(text: &str) -> usize {
    text.split_whitespace().count()
}
