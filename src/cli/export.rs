//! `voxray export`: a tenant's sessions as a file, with what was said.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::api::voice_sessions::export::{Format, Layout};
use crate::cli::{Failure, open};
use crate::config::StoreSettings;
use crate::domain::record::Filter;
use crate::services::export::Export;
use crate::services::pace::Traffic;
use crate::store::{ContentScope, Scope, Store, tenants};

/// Export all of a tenant's sessions, newest first, with their content
///
/// The same as `GET /api/v1/voice-sessions/export`, as a stream of bounded memory. A file is there only
/// once it is whole.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  voxray export --tenant acme --format csv --out sessions.csv")]
pub struct Arguments {
    /// The tenant's name or id
    #[arg(long)]
    tenant: String,
    /// What to write
    #[arg(long, value_enum, default_value = "jsonl")]
    format: Word,
    /// Where to write it [default: standard output]
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    settings: StoreSettings,
}

#[derive(Clone, Copy, ValueEnum)]
enum Word {
    Jsonl,
    Csv,
}

pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let format = match arguments.format {
        Word::Jsonl => Format::Jsonl,
        Word::Csv => Format::Csv,
    };
    open::with_store(&arguments.settings, async |store| {
        let tenant = tenants::find(store, &arguments.tenant).await?;
        let scope = Scope::for_operator(store, tenant.id);
        match &arguments.out {
            Some(file) => to_file(store, &scope, format, file).await,
            None => write(store, &scope, format, &mut io::stdout().lock()).await,
        }
    })
    .await
}

async fn to_file(store: &Store, scope: &Scope, format: Format, file: &Path) -> Result<(), Failure> {
    let told = |error: io::Error| Failure::new(format!("{}: {error}", file.display()));
    let mut partial = file.as_os_str().to_owned();
    partial.push(".part");
    let mut writer = BufWriter::new(File::create(&partial).map_err(told)?);
    write(store, scope, format, &mut writer).await?;
    let whole = writer
        .into_inner()
        .map_err(|error| told(error.into_error()))?;
    whole.sync_all().map_err(told)?;
    std::fs::rename(&partial, file).map_err(told)
}

async fn write(
    store: &Store,
    scope: &Scope,
    mut format: Format,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let content = ContentScope::for_operator(store);
    // A server beside this process is not seen from here.
    let nobody = Traffic::default();
    let mut export = Export::new(scope, Some(&content), Filter::default(), &nobody).await?;
    out.write_all(&format.head()?)?;
    while let Some(records) = export.next().await? {
        out.write_all(&format.lines(records)?)?;
    }
    Ok(out.flush()?)
}
