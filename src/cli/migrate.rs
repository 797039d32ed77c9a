//! `voxray migrate`: applies the schema's migrations. `serve` does so too when it starts.

use serde_json::json;

use crate::cli::{Failure, open, print};
use crate::config::StoreSettings;

/// Apply the migrations of the schema (`serve` does it too)
#[derive(clap::Args)]
#[command(after_help = "Example:\n  voxray migrate --json")]
pub struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: StoreSettings,
}

pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let schema = open::with_store(&arguments.settings, async |store| {
        Ok(store.schema().await?)
    })
    .await?;
    if arguments.json {
        print::json(
            &json!({ "applied": schema.applied, "known": schema.known, "newest": schema.newest }),
        )?;
    } else {
        print::line(&format!(
            "{} of {} migrations are applied",
            schema.applied, schema.known
        ))?;
    }
    Ok(())
}
