//! `voxray tenant`: create one with its first key, list them.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::Clock;
use crate::auth::key;
use crate::cli::{Failure, open, print};
use crate::config::StoreSettings;
use crate::domain::access::{Right, Tenant};
use crate::domain::ids::TenantId;
use crate::store::api_keys::NewKey;
use crate::store::tenants;

/// Manage tenants
#[derive(clap::Subcommand)]
pub enum Command {
    Create(Create),
    List(List),
}

/// Create a tenant, with a first key that may only manage it
#[derive(clap::Args)]
#[command(after_help = "Example:\n  voxray tenant create acme --json")]
pub struct Create {
    /// 1 to 255 characters, unlike any other tenant's
    #[arg(value_parser = name)]
    name: String,
    /// Print JSON: `{"tenantId", "key"}`
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: StoreSettings,
}

/// List tenants, oldest first
#[derive(clap::Args)]
#[command(after_help = "Example:\n  voxray tenant list")]
pub struct List {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: StoreSettings,
}

pub async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Create(arguments) => create(arguments).await,
        Command::List(arguments) => list(arguments).await,
    }
}

async fn create(arguments: Create) -> Result<(), Failure> {
    let tenant = Tenant {
        id: TenantId(Uuid::new_v4()),
        name: arguments.name,
        created_at: Clock::system().now(),
    };
    let key = key::generate();
    let stored = NewKey {
        id: key.id,
        tenant: tenant.id,
        name: "first key".to_owned(),
        hash: key.hash,
        rights: [Right::Admin].into_iter().collect(),
        created_at: tenant.created_at,
        expires_at: None,
    };
    open::with_store(&arguments.settings, async |store| {
        Ok(tenants::create(store, &tenant, &stored).await?)
    })
    .await?;
    if arguments.json {
        print::json(&json!({ "tenantId": tenant.id.0, "key": key.text }))?;
    } else {
        print::line(&format!(
            "tenant  {}\nkey     {}\nThe key is shown only now.",
            tenant.id, key.text
        ))?;
    }
    Ok(())
}

async fn list(arguments: List) -> Result<(), Failure> {
    let tenants = open::with_store(&arguments.settings, async |store| {
        Ok(tenants::list(store).await?)
    })
    .await?;
    if arguments.json {
        let items = tenants.iter().map(|tenant| {
            json!({ "id": tenant.id.0, "name": tenant.name, "createdAt": print::time(tenant.created_at) })
        });
        return Ok(print::json(&Value::from_iter(items))?);
    }
    let rows: Vec<_> = tenants
        .into_iter()
        .map(|tenant| {
            vec![
                tenant.id.to_string(),
                tenant.name,
                print::time(tenant.created_at),
            ]
        })
        .collect();
    Ok(print::table(&["ID", "NAME", "CREATED"], &rows)?)
}

/// A name that cannot be mistaken for an id, and that every later command can carry.
pub(super) fn name(text: &str) -> Result<String, String> {
    let chars = text.chars().count();
    if !(1..=255).contains(&chars) || text.trim() != text || text.chars().any(char::is_control) {
        return Err(
            "must have 1 to 255 characters, no control characters, and no space at either end"
                .to_owned(),
        );
    }
    if Uuid::try_parse(text).is_ok() {
        return Err("must not look like an id".to_owned());
    }
    Ok(text.to_owned())
}
