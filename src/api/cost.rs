//! How a session's cost came about, where it was computed here and not stated by a source.

use serde::Serialize;

use crate::domain::price;
use crate::domain::price::{Pricing, Unpriced};
use crate::domain::session::Session;

/// In snake_case dialects, beside `cost_usd`; nothing of it is written where a source states the cost.
#[derive(Default, Serialize)]
pub struct Estimate {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cost_estimated: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cost_incomplete: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unpriced: Vec<Unpriced>,
}

/// In camelCase dialects, within `cost`.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    pub total_usd: Option<f64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cost_incomplete: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unpriced: Vec<Unpriced>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prices_version: Option<String>,
}

impl Estimate {
    pub fn of(session: &Session) -> Self {
        let Some(Pricing {
            unpriced,
            is_stated,
            ..
        }) = price::pricing(session)
        else {
            return Self::default();
        };
        Self {
            cost_estimated: session.cost_micro_usd.is_some() && !is_stated,
            cost_incomplete: !unpriced.is_empty(),
            unpriced,
        }
    }
}

impl Cost {
    /// None where nothing is known of it.
    pub fn of(session: &Session) -> Option<Self> {
        let total_usd = session.cost_micro_usd.map(super::format::usd);
        match price::pricing(session) {
            None if total_usd.is_none() => None,
            None
            | Some(Pricing {
                is_stated: true, ..
            }) => Some(Self {
                total_usd,
                ..Self::default()
            }),
            Some(Pricing {
                prices_version,
                unpriced,
                ..
            }) => Some(Self {
                total_usd,
                estimated: total_usd.is_some(),
                cost_incomplete: !unpriced.is_empty(),
                unpriced,
                prices_version: Some(prices_version),
            }),
        }
    }
}
