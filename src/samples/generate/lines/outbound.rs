//! Calls that people get: about a bill, about how they are.

use super::{acting, step};
use crate::samples::generate::script::Script;

pub const PAYMENTS: Script = Script {
    greetings: &[
        "Hello, this is the billing assistant of your supplier. Am I speaking with {name}?",
        "Good day, I am calling about your account. Is this {name}?",
    ],
    steps: &[
        step(
            &["Yes, speaking.", "That is me, what is it?"],
            &[
                "Thank you. There is an open amount of {amount} from last month. Have you seen the letter?",
                "Thanks. Our records show {amount} still open. May I explain?",
            ],
        ),
        acting(
            &[
                "I thought I had paid that already.",
                "No, I have not got any letter.",
            ],
            &[
                "I will check. One moment, please. Nothing has come in so far for invoice {number}.",
                "I see. The invoice is number {number}, and no payment has been matched to it.",
            ],
            (
                "find_invoice",
                &[("customer", "{name}")],
                &[("invoice", "{number}"), ("open", "{amount}")],
                "ledger is closed for the daily run",
            ),
        ),
        acting(
            &[
                "All right. Can I pay in two parts?",
                "Can we do that next week?",
            ],
            &[
                "Yes, I can split it. The first half would be due on {day}.",
                "That is possible. I would put the date on {day}.",
            ],
            (
                "offer_plan",
                &[("invoice", "{number}"), ("first", "{day}")],
                &[("plan", "two parts"), ("state", "offered")],
                "plans are not available for this contract",
            ),
        ),
        step(
            &["Fine, do it like that.", "Okay, that I can manage."],
            &["Good. I have written it down, and you get a confirmation by post."],
        ),
        step(
            &[
                "Will there be a fee for this?",
                "Does this show up anywhere?",
            ],
            &[
                "There is no fee as long as the dates are kept.",
                "No, it stays between you and us.",
            ],
        ),
    ],
    voicemail: "Hello {name}, please call us back about invoice {number}. Thank you.",
    summary: "Agreed with {name} on paying invoice {number} in two parts from {day}.",
    outcome: "promise_to_pay",
};

pub const WELLBEING: Script = Script {
    greetings: &[
        "Good morning {name}, this is your daily check-in. How are you today?",
        "Hello {name}, it is time for our short talk. How did you sleep?",
    ],
    steps: &[
        step(
            &[
                "Quite well, thank you.",
                "Not too bad. My knee is a little stiff.",
            ],
            &[
                "Good to hear. Did you take your tablets this morning?",
                "Thank you for telling me. Have you had your tablets yet?",
            ],
        ),
        acting(
            &[
                "Yes, right after breakfast.",
                "Oh, not yet, I will do it now.",
            ],
            &["Very good, I have noted that. What was your reading today?"],
            (
                "log_medication",
                &[("person", "{name}"), ("taken", "yes")],
                &[("state", "saved")],
                "diary could not be saved",
            ),
        ),
        acting(
            &[
                "A hundred and twenty eight over eighty two.",
                "I measured one thirty over eighty.",
            ],
            &["Thank you. That is in your usual range."],
            (
                "log_reading",
                &[("person", "{name}"), ("kind", "pressure")],
                &[("state", "saved"), ("range", "usual")],
                "reading is outside what the device sends",
            ),
        ),
        step(
            &[
                "I walked to the park yesterday.",
                "My daughter comes to visit on {day}.",
            ],
            &[
                "That sounds lovely. Moving a little each day does a lot of good.",
                "How nice. Then you have something to look forward to on {day}.",
            ],
        ),
        acting(
            &[
                "Could someone call me about my next visit?",
                "I have a question for the nurse.",
            ],
            &["I will ask the nurse to ring you on {day} at {time}."],
            (
                "request_callback",
                &[("day", "{day}"), ("time", "{time}")],
                &[("ticket", "T-{number}")],
                "nobody is free at that time",
            ),
        ),
    ],
    voicemail: "Hello {name}, this was your check-in. We will try again at {time}.",
    summary: "{name} is well, took the tablets and gave a reading in the usual range.",
    outcome: "checked_in",
};
