//! Calls that people make: to book, to ask, to have something repaired.

use super::{acting, step};
use crate::samples::generate::script::Script;

pub const APPOINTMENTS: Script = Script {
    greetings: &[
        "Good day, this is the practice's assistant. How can I help?",
        "Hello, you have reached the appointment desk. What can I do for you?",
    ],
    steps: &[
        step(
            &[
                "I would like to book a check-up, please.",
                "Hi, I need an appointment this week if you have one.",
            ],
            &[
                "Gladly. May I have your name, please?",
                "I can do that. Who is the appointment for?",
            ],
        ),
        acting(
            &[
                "It is {name}.",
                "My name is {name}, I have been with you before.",
            ],
            &["Thank you, {name}. Which day would suit you best?"],
            (
                "find_patient",
                &[("name", "{name}")],
                &[("patient", "P-{number}"), ("known", "yes")],
                "patient register is locked for maintenance",
            ),
        ),
        acting(
            &[
                "{day} would be good, {time} or so.",
                "Could I come on {day}?",
            ],
            &[
                "On {day} I have {time}. Shall I take it for you?",
                "There is room on {day} at {time}. Does that work?",
            ],
            (
                "list_openings",
                &[("day", "{day}")],
                &[("first", "{day}, {time}"), ("count", "3")],
                "calendar did not answer in time",
            ),
        ),
        acting(
            &["Yes, that works for me.", "Perfect, please book it."],
            &["Done. You are booked for {day}, {time}. You will get a message with the details."],
            (
                "book_appointment",
                &[("day", "{day}"), ("time", "{time}")],
                &[("booking", "B-{number}"), ("state", "confirmed")],
                "the opening was taken meanwhile",
            ),
        ),
        step(
            &["Do I need to bring anything?", "Is there parking close by?"],
            &[
                "Just your insurance card, and ten minutes of time before we begin.",
                "There is a garage next door, the first hour is free.",
            ],
        ),
    ],
    voicemail: "Hello {name}, this is your practice. We have an opening on {day}, {time}. Please call us back.",
    summary: "Booked a check-up for {name} on {day}, {time}.",
    outcome: "booked",
};

pub const ORDERS: Script = Script {
    greetings: &[
        "Hi, this is the order line. What is it about?",
        "Welcome, I can look up orders and returns. How may I help?",
    ],
    steps: &[
        step(
            &[
                "I want to know where my parcel is.",
                "My order has not come yet.",
            ],
            &[
                "Let me see. What is the order number?",
                "I will check right away. Can you read me the order number?",
            ],
        ),
        acting(
            &["It is {number}.", "Let me look. {number}."],
            &[
                "Thanks. The parcel left our warehouse and should be with you on {day}.",
                "Found it. It is with the carrier and planned for {day}.",
            ],
            (
                "find_order",
                &[("order", "{number}")],
                &[("state", "in transit"), ("expected", "{day}")],
                "order service answered 503",
            ),
        ),
        step(
            &[
                "That is later than you promised.",
                "Hm, I was told it would be there yesterday.",
            ],
            &[
                "I am sorry about that. The carrier had a delay at its hub, and I have asked to move it up.",
            ],
        ),
        acting(
            &[
                "Can I still change the address?",
                "Could it go to my neighbour instead?",
            ],
            &["Yes, until the evening before. I have noted the change for the carrier."],
            (
                "change_delivery",
                &[("order", "{number}"), ("to", "neighbour")],
                &[("state", "accepted")],
                "parcel is already out for delivery",
            ),
        ),
        step(
            &[
                "And if I want to send something back?",
                "How do returns work with you?",
            ],
            &[
                "You have thirty days. I can send you a label by e-mail, and {amount} come back once it arrives.",
                "Use the label in the box. We refund {amount} within a week.",
            ],
        ),
    ],
    voicemail: "Hello {name}, your order {number} is planned for {day}. No need to call back.",
    summary: "Told the caller that order {number} comes on {day} and noted a change of delivery.",
    outcome: "answered",
};

pub const DEVICES: Script = Script {
    greetings: &[
        "Welcome to device support. Which device is it about?",
        "Hello, support here. Tell me what is going wrong.",
    ],
    steps: &[
        step(
            &[
                "My router keeps losing the connection.",
                "The lamp does not show up in the app any more.",
            ],
            &[
                "I am sorry to hear that. Is there a light on its front, and which colour has it?",
                "Let us find out. What colour is the light on the device?",
            ],
        ),
        acting(
            &["It blinks orange.", "There is a red one, I think."],
            &[
                "That means it cannot reach our service. I will run a test from here, it takes a moment. The line itself is fine.",
                "Thank you. I have tested the line, and it answers as it should.",
            ],
            (
                "run_line_test",
                &[("device", "D-{number}")],
                &[("line", "ok"), ("firmware", "behind")],
                "device did not answer the test",
            ),
        ),
        step(
            &["So what should I do now?", "Okay, and how do I fix it?"],
            &[
                "Please hold the small button on the back for ten seconds, until the light goes out, and then let go.",
            ],
        ),
        acting(
            &["Done, it is starting again.", "Wait, yes, now it is green."],
            &["Very good. I have sent it the newest software too, so it should stay like that."],
            (
                "update_firmware",
                &[("device", "D-{number}")],
                &[("state", "scheduled")],
                "no update server could be reached",
            ),
        ),
        step(
            &["And if it happens again?", "How long is the warranty?"],
            &[
                "Then we send you a new one. I have opened ticket {number}, just mention it.",
                "Two years from the day you bought it, so until well into next year.",
            ],
        ),
    ],
    voicemail: "Hello {name}, this is device support about ticket {number}. Please call us back.",
    summary: "Restarted and updated the caller's device; ticket {number} stays open for a week.",
    outcome: "solved",
};
