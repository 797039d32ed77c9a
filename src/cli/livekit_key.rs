//! `voxray livekit-key`: add, list, remove the keys of a tenant's LiveKit servers. Works while servers run;
//! they notice within seconds.

use serde_json::{Value, json};

use crate::app::Clock;
use crate::cli::{Failure, open, print};
use crate::config::StoreSettings;
use crate::domain::audit::OPERATOR;
use crate::domain::livekit::LivekitKey;
use crate::services::livekit_keys;
use crate::store::{Scope, livekit_keys as keys, tenants};

/// Manage the LiveKit keys that agents and webhooks sign with
#[derive(clap::Subcommand)]
pub enum Command {
    Add(Add),
    List(List),
    Remove(Remove),
}

/// Add a LiveKit API key: what agents with `LIVEKIT_OBSERVABILITY_URL` and LiveKit's webhooks sign with
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  LIVEKIT_API_SECRET=… voxray livekit-key add --tenant acme --key APIfoo1234"
)]
pub struct Add {
    /// The tenant's id or name
    #[arg(long)]
    tenant: String,
    /// The LiveKit API key, as agents have it
    #[arg(long, env = "LIVEKIT_API_KEY")]
    key: String,
    /// Its secret; better by the environment, where other users of this machine do not see it
    #[arg(long, env = "LIVEKIT_API_SECRET", hide_env_values = true)]
    secret: String,
    /// Print JSON: `{"id", "keyName"}`
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: StoreSettings,
}

/// List LiveKit keys, never their secrets
#[derive(clap::Args)]
#[command(after_help = "Example:\n  voxray livekit-key list --tenant acme")]
pub struct List {
    /// The tenant's id or name
    #[arg(long)]
    tenant: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: StoreSettings,
}

/// Remove a LiveKit key now; every server knows within 5 seconds
#[derive(clap::Args)]
#[command(after_help = "Example:\n  voxray livekit-key remove lk_0f3c2b…")]
pub struct Remove {
    /// The key's id, as `add` and `list` show it
    id: String,
    /// Print JSON: `{"id", "removed"}`
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: StoreSettings,
}

pub async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Add(arguments) => add(arguments).await,
        Command::List(arguments) => list(arguments).await,
        Command::Remove(arguments) => remove(arguments).await,
    }
}

async fn add(arguments: Add) -> Result<(), Failure> {
    let now = Clock::system().now();
    let key = open::with_store(&arguments.settings, async |store| {
        let tenant = tenants::find(store, &arguments.tenant).await?;
        let scope = Scope::for_operator(store, tenant.id);
        let (name, secret) = (&arguments.key, &arguments.secret);
        Ok(livekit_keys::add(&scope, name, secret, OPERATOR, now).await?)
    })
    .await?;
    if arguments.json {
        return Ok(print::json(
            &json!({ "id": key.id, "keyName": key.key_name }),
        )?);
    }
    Ok(print::line(&format!(
        "id   {}\nkey  {}",
        key.id, key.key_name
    ))?)
}

async fn list(arguments: List) -> Result<(), Failure> {
    let keys = open::with_store(&arguments.settings, async |store| {
        let tenant = tenants::find(store, &arguments.tenant).await?;
        Ok(livekit_keys::list(&Scope::for_operator(store, tenant.id)).await?)
    })
    .await?;
    if arguments.json {
        return Ok(print::json(&Value::from_iter(keys.iter().map(wire)))?);
    }
    let rows: Vec<_> = keys
        .iter()
        .map(|key| {
            vec![
                key.id.clone(),
                key.key_name.clone(),
                print::time(key.created_at),
            ]
        })
        .collect();
    Ok(print::table(&["ID", "KEY", "CREATED"], &rows)?)
}

fn wire(key: &LivekitKey) -> Value {
    json!({
        "id": key.id,
        "tenantId": key.tenant.0,
        "keyName": key.key_name,
        "createdAt": print::time(key.created_at),
    })
}

async fn remove(arguments: Remove) -> Result<(), Failure> {
    let now = Clock::system().now();
    open::with_store(&arguments.settings, async |store| {
        let tenant = keys::tenant_of(store, &arguments.id).await?;
        let scope = Scope::for_operator(store, tenant);
        Ok(livekit_keys::remove(&scope, &arguments.id, OPERATOR, now).await?)
    })
    .await?;
    if arguments.json {
        return Ok(print::json(
            &json!({ "id": arguments.id, "removed": true }),
        )?);
    }
    Ok(print::line(&format!(
        "LiveKit key {} is removed",
        arguments.id
    ))?)
}
