//! The scripts of the generated calls, one an agent. All sentences were written for this product.

mod outbound;
mod service;

pub use outbound::{PAYMENTS, WELLBEING};
pub use service::{APPOINTMENTS, DEVICES, ORDERS};

use super::script::{Step, Tool};

const fn step(user: &'static [&'static str], agent: &'static [&'static str]) -> Step {
    Step {
        user,
        agent,
        tool: None,
    }
}

type Pairs = &'static [(&'static str, &'static str)];

/// A tool is a name, arguments, a result, and what it says when it fails.
type Call = (&'static str, Pairs, Pairs, &'static str);

const fn acting(
    user: &'static [&'static str],
    agent: &'static [&'static str],
    (name, arguments, result, error): Call,
) -> Step {
    Step {
        user,
        agent,
        tool: Some(Tool {
            name,
            arguments,
            result,
            error,
        }),
    }
}
