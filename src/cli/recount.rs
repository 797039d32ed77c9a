//! `voxray doctor --recount`: do the sums that the analytics read say what the calls say?

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::cli::print;
use crate::domain::Result;
use crate::domain::access::Tenant;
use crate::store::rollups::Difference;
use crate::store::{Scope, Store, rollups, tenants};

/// Differences that a person is shown; programs get all.
const TOLD_MAX: usize = 10;
/// How often, and how long in between, to look whether a running server has done what is marked.
const LOOKS: usize = 100;
const PAUSE: Duration = Duration::from_millis(200);

/// What a recount of one tenant found, and what became of it.
pub struct Recounted {
    differences: Vec<Difference>,
    state: State,
}

enum State {
    /// Nobody asked for a repair, or there is nothing to repair.
    AsFound,
    Repaired,
    /// Marked: told call by call, rightly, until a running server sums it up.
    Marked,
    /// Summed up again, and still wrong.
    StillWrong,
}

/// The tenant that is named, else all.
pub async fn tenants(store: &Store, reference: Option<&str>) -> Result<Vec<Tenant>> {
    match reference {
        Some(reference) => Ok(vec![tenants::find(store, reference).await?]),
        None => tenants::list(store).await,
    }
}

/// Counts a tenant's calls again, a day at a time, while a server may be running.
pub async fn recount(
    store: &Store,
    tenant: &Tenant,
    repairs: bool,
    now: DateTime<Utc>,
) -> Result<Recounted> {
    let scope = Scope::for_operator(store, tenant.id);
    let differences = rollups::verify(&scope).await?;
    let state = if repairs && !differences.is_empty() {
        repair(store, &scope, &differences, now).await?
    } else {
        State::AsFound
    };
    Ok(Recounted { differences, state })
}

async fn repair(
    store: &Store,
    scope: &Scope,
    differences: &[Difference],
    now: DateTime<Utc>,
) -> Result<State> {
    rollups::mark(scope, differences).await?;
    // Where a server keeps the rollups it takes the marks up by itself.
    for _ in 0..LOOKS {
        if rollups::drain(store, now).await? || !rollups::is_marked(scope, differences).await? {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(if !rollups::verify(scope).await?.is_empty() {
        State::StillWrong
    } else if rollups::is_marked(scope, differences).await? {
        State::Marked
    } else {
        State::Repaired
    })
}

impl Recounted {
    /// Whether answers are right by now.
    pub fn is_right(&self) -> bool {
        self.differences.is_empty() || matches!(self.state, State::Repaired | State::Marked)
    }

    pub fn told(&self, tenant: &str) -> String {
        if self.differences.is_empty() {
            return format!("tenant `{tenant}`: every hour and day says what its calls say");
        }
        let mut lines: Vec<String> = self
            .differences
            .iter()
            .take(TOLD_MAX)
            .map(|found| {
                format!(
                    "the {} of {} says {} {}, counted {}",
                    unit(found),
                    print::time(found.at),
                    found.rolled_up_calls,
                    if found.is_of_analyses {
                        "analysed calls"
                    } else {
                        "calls"
                    },
                    found.counted_calls
                )
            })
            .collect();
        let rest = self.differences.len().saturating_sub(TOLD_MAX);
        if rest > 0 {
            lines.push(format!("and {rest} more"));
        }
        let outcome = match self.state {
            State::AsFound => "`--repair` has them summed up again",
            State::Repaired => "repaired",
            State::Marked => "marked: right from now on, and summed up by the server that runs",
            State::StillWrong => "still wrong after a repair: please report this",
        };
        format!("tenant `{tenant}`: {}; {outcome}", lines.join("; "))
    }

    pub fn to_json(&self, tenant: &Tenant) -> Map<String, Value> {
        let differences = self.differences.iter().map(|found| {
            json!({
                "at": print::time(found.at),
                "unit": unit(found),
                "ofAnalyses": found.is_of_analyses,
                "rolledUpCalls": found.rolled_up_calls,
                "countedCalls": found.counted_calls,
            })
        });
        let mut members = Map::new();
        members.insert("tenantId".to_owned(), json!(tenant.id.0));
        members.insert("tenant".to_owned(), json!(tenant.name));
        members.insert("differences".to_owned(), differences.collect());
        let repaired = !self.differences.is_empty() && self.is_right();
        members.insert("repaired".to_owned(), json!(repaired));
        members
    }
}

fn unit(difference: &Difference) -> &'static str {
    if difference.is_day { "day" } else { "hour" }
}
