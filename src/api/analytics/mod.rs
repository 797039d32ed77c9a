//! The analytics dialect: snake_case, ranges by name or by bounds. A file an endpoint.

pub mod active_calls;
pub mod call_volume;
pub mod errors;
pub mod provider_latency;
mod range;
pub mod root_causes;
pub mod summary;
pub mod what_if;
pub mod workflow_stats;

use crate::domain::analytics::Dimensions;
use crate::domain::fields::CHANNELS;
use crate::problem::Params;

/// The filters that all endpoints of this dialect take.
fn dimensions(params: &mut Params) -> Dimensions {
    Dimensions {
        agent_key: params.text("agent_key"),
        workflow: params.text("workflow"),
        channel: params.one_of("channel", CHANNELS).map(str::to_owned),
        campaign: params.text("campaign"),
    }
}

/// A number with one decimal, as this dialect writes latencies, durations and rates.
fn tenth(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
