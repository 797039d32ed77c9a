//! `voxray key`: create, list, rotate, revoke. Works while servers run; they notice within seconds.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::app::Clock;
use crate::auth::key;
use crate::cli::{Failure, open, print, span, tenant};
use crate::config::StoreSettings;
use crate::domain::access::{ApiKey, Right};
use crate::store::api_keys::{self, NewKey};
use crate::store::tenants;

/// Manage API keys
#[derive(clap::Subcommand)]
pub enum Command {
    Create(Create),
    List(List),
    Rotate(Rotate),
    Revoke(Revoke),
}

/// Create a key; it is shown once
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  voxray key create --tenant acme --name dashboard --scopes sessions:read,transcripts:read"
)]
pub struct Create {
    /// The tenant's id or name
    #[arg(long)]
    tenant: String,
    /// What the key is for
    #[arg(long, value_parser = tenant::name)]
    name: String,
    /// What it may do: sessions:read, transcripts:read, ingest:write, reviews:write, admin
    #[arg(long, required = true, value_delimiter = ',')]
    scopes: Vec<Right>,
    /// When it stops working, such as `90d` from now [default: never]
    #[arg(long, value_parser = span::parse)]
    expires_in: Option<TimeDelta>,
    /// Print JSON: `{"id", "key"}`
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: StoreSettings,
}

/// List keys, never the keys themselves
#[derive(clap::Args)]
#[command(after_help = "Example:\n  voxray key list --tenant acme")]
pub struct List {
    /// Only this tenant's, by id or name
    #[arg(long)]
    tenant: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: StoreSettings,
}

/// Replace a key by a new one with the same scopes; the old one works on for the grace time
#[derive(clap::Args)]
#[command(after_help = "Example:\n  voxray key rotate 4fTq0aZk19Xb --grace 24h")]
pub struct Rotate {
    /// The key's public id
    id: String,
    /// How long the old key still works
    #[arg(long, value_parser = span::parse, default_value = "24h")]
    grace: TimeDelta,
    /// Print JSON: `{"id", "key"}`
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: StoreSettings,
}

/// End a key now; every server knows within 5 seconds
#[derive(clap::Args)]
#[command(after_help = "Example:\n  voxray key revoke 4fTq0aZk19Xb")]
pub struct Revoke {
    /// The key's public id
    id: String,
    /// Print JSON: `{"id", "revoked"}`
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: StoreSettings,
}

pub async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Create(arguments) => create(arguments).await,
        Command::List(arguments) => list(arguments).await,
        Command::Rotate(arguments) => rotate(arguments).await,
        Command::Revoke(arguments) => revoke(arguments).await,
    }
}

async fn create(arguments: Create) -> Result<(), Failure> {
    let now = Clock::system().now();
    let key = key::generate();
    open::with_store(&arguments.settings, async |store| {
        let tenant = tenants::find(store, &arguments.tenant).await?;
        let stored = NewKey {
            id: key.id.clone(),
            tenant: tenant.id,
            name: arguments.name,
            hash: key.hash,
            rights: arguments.scopes.into_iter().collect(),
            created_at: now,
            expires_at: arguments.expires_in.map(|span| now + span),
        };
        Ok(api_keys::create(store, &stored).await?)
    })
    .await?;
    show(&key, arguments.json)
}

async fn rotate(arguments: Rotate) -> Result<(), Failure> {
    let now = Clock::system().now();
    let key = key::generate();
    open::with_store(&arguments.settings, async |store| {
        let old = api_keys::find(store, &arguments.id).await?;
        let successor = NewKey {
            id: key.id.clone(),
            tenant: old.tenant,
            name: old.name,
            hash: key.hash,
            rights: old.rights,
            created_at: now,
            // It lives as long as the old one was meant to.
            expires_at: old.expires_at.map(|end| now + (end - old.created_at)),
        };
        Ok(api_keys::rotate(store, &old.id, &successor, now + arguments.grace).await?)
    })
    .await?;
    show(&key, arguments.json)
}

fn show(key: &key::Generated, json: bool) -> Result<(), Failure> {
    if json {
        print::json(&json!({ "id": key.id, "key": key.text }))?;
    } else {
        print::line(&format!(
            "id   {}\nkey  {}\nThe key is shown only now.",
            key.id, key.text
        ))?;
    }
    Ok(())
}

async fn revoke(arguments: Revoke) -> Result<(), Failure> {
    let now = Clock::system().now();
    open::with_store(&arguments.settings, async |store| {
        Ok(api_keys::revoke(store, &arguments.id, now).await?)
    })
    .await?;
    if arguments.json {
        print::json(&json!({ "id": arguments.id, "revoked": true }))?;
    } else {
        print::line(&format!("key {} is revoked", arguments.id))?;
    }
    Ok(())
}

async fn list(arguments: List) -> Result<(), Failure> {
    let now = Clock::system().now();
    let keys = open::with_store(&arguments.settings, async |store| {
        let tenant = match &arguments.tenant {
            Some(reference) => Some(tenants::find(store, reference).await?.id),
            None => None,
        };
        Ok(api_keys::list(store, tenant).await?)
    })
    .await?;
    if arguments.json {
        return Ok(print::json(&Value::from_iter(
            keys.iter().map(|key| wire(key, now)),
        ))?);
    }
    let rows: Vec<_> = keys.iter().map(|key| row(key, now)).collect();
    let head = [
        "ID",
        "TENANT",
        "NAME",
        "SCOPES",
        "STATUS",
        "CREATED",
        "EXPIRES",
        "LAST USED",
    ];
    Ok(print::table(&head, &rows)?)
}

fn wire(key: &ApiKey, now: DateTime<Utc>) -> Value {
    json!({
        "id": key.id,
        "tenantId": key.tenant.0,
        "name": key.name,
        "scopes": key.rights.to_texts(),
        "status": status(key, now),
        "createdAt": print::time(key.created_at),
        "expiresAt": key.expires_at.map(print::time),
        "revokedAt": key.revoked_at.map(print::time),
        "replacedBy": key.replaced_by,
        "lastUsedAt": key.last_used_at.map(print::time),
    })
}

fn row(key: &ApiKey, now: DateTime<Utc>) -> Vec<String> {
    vec![
        key.id.clone(),
        key.tenant.to_string(),
        key.name.clone(),
        key.rights.to_texts().join(","),
        status(key, now).to_owned(),
        print::time(key.created_at),
        print::optional_time(key.expires_at),
        print::optional_time(key.last_used_at),
    ]
}

fn status(key: &ApiKey, now: DateTime<Utc>) -> &'static str {
    if key.revoked_at.is_some() {
        "revoked"
    } else if key.expires_at.is_some_and(|end| end <= now) {
        "expired"
    } else if key.replaced_by.is_some() {
        "rotating"
    } else {
        "active"
    }
}
