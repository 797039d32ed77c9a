//! `voxray retention`: tells which calls are due to go, or lets them go now. Works while servers run.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::app::Clock;
use crate::cli::{Failure, open, print};
use crate::config::StoreSettings;
use crate::domain::access::Tenant;
use crate::services::retention;
use crate::store::{Scope, Store, tenants};

/// Say which calls are due to go, or let them go now instead of when the server looks next
///
/// Audio of calls that go is removed by the server within a minute.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  voxray retention --dry-run\n  voxray retention --run --tenant acme --json"
)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["dry_run", "run"])))]
pub struct Arguments {
    /// Only say how many
    #[arg(long)]
    dry_run: bool,
    /// Delete what is due
    #[arg(long)]
    run: bool,
    /// Only this tenant, by name or id
    #[arg(long)]
    tenant: Option<String>,
    /// Print JSON: a list of `{"tenantId", "tenant", "closed", "deleted", "tombstones"}`
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: StoreSettings,
}

/// Calls that lose or lost what was said, that go or went, and tombstones that do.
struct Told {
    tenant: Tenant,
    closed: i64,
    deleted: i64,
    tombstones: i64,
}

pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let now = Clock::system().now();
    let all = open::with_store(&arguments.settings, async |store| {
        let tenants = match &arguments.tenant {
            Some(reference) => vec![tenants::find(store, reference).await?],
            None => tenants::list(store).await?,
        };
        let mut all = Vec::new();
        for tenant in tenants {
            all.push(of_tenant(store, tenant, arguments.run, now).await?);
        }
        Ok(all)
    })
    .await?;
    if arguments.json {
        return Ok(print::json(&Value::from_iter(all.iter().map(to_json)))?);
    }
    let rows: Vec<_> = all
        .iter()
        .map(|told| {
            vec![
                told.tenant.name.clone(),
                told.closed.to_string(),
                told.deleted.to_string(),
                told.tombstones.to_string(),
            ]
        })
        .collect();
    let heads = match arguments.run {
        true => [
            "TENANT",
            "CONTENT DELETED",
            "CALLS DELETED",
            "TOMBSTONES REMOVED",
        ],
        false => ["TENANT", "CONTENT DUE", "CALLS DUE", "TOMBSTONES DUE"],
    };
    Ok(print::table(&heads, &rows)?)
}

async fn of_tenant(
    store: &Store,
    tenant: Tenant,
    runs: bool,
    now: DateTime<Utc>,
) -> Result<Told, Failure> {
    let scope = Scope::for_operator(store, tenant.id);
    let (closed, deleted, tombstones) = if runs {
        let gone = retention::drain(&scope, now).await?;
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let forgotten = i64::try_from(gone.forgotten).unwrap_or(i64::MAX);
        (count(gone.closed), count(gone.deleted), forgotten)
    } else {
        let waiting = retention::waiting(&scope, now).await?;
        (waiting.closes, waiting.deletes, waiting.forgets)
    };
    Ok(Told {
        tenant,
        closed,
        deleted,
        tombstones,
    })
}

fn to_json(told: &Told) -> Value {
    json!({
        "tenantId": told.tenant.id.0,
        "tenant": told.tenant.name,
        "closed": told.closed,
        "deleted": told.deleted,
        "tombstones": told.tombstones,
    })
}
