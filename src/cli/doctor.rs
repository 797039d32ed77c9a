//! `voxray doctor`: checks configuration, store, clock and recordings, and says what to do about what is wrong.

use std::process::ExitCode;

use chrono::TimeDelta;
use serde_json::{Map, Value, json};

use crate::app::Clock;
use crate::cli::{Failure, open, print, recount};
use crate::config::{LogFormat, Settings, StoreSettings};
use crate::domain::access::Tenant;
use crate::objects::Objects;
use crate::store::embedded::Hold;
use crate::store::recordings;
use crate::store::{Schema, Scope, Server, Store};
use crate::telemetry;

const OLDEST_POSTGRES: u32 = 14;
const SKEW_MAX_SECONDS: i64 = 2;

/// Check configuration, store, clock and where recordings are kept
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  voxray doctor --json\n  voxray doctor --recount --repair\n\nExits with 1 if a check failed."
)]
pub struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Also count all calls again, and say which hours and days the analytics sum up wrongly
    #[arg(long)]
    recount: bool,
    /// Have what was summed up wrongly summed up again
    #[arg(long, requires = "recount")]
    repair: bool,
    /// Recount only this tenant, by name or id
    #[arg(long, requires = "recount")]
    tenant: Option<String>,
    #[command(flatten)]
    settings: StoreSettings,
}

struct Check {
    name: &'static str,
    verdict: Verdict,
    detail: String,
    /// More of it, for programs.
    more: Map<String, Value>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warning,
    Failed,
}

pub async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    telemetry::log(LogFormat::Human, "error");
    let mut checks = Vec::new();
    match arguments.settings.load() {
        Ok(settings) => {
            checks.push(ok("configuration", "every setting is well formed"));
            check_store(&arguments, &settings, &mut checks).await;
            checks.push(check_recordings(&settings).await);
        }
        Err(error) => checks.push(failed("configuration", error.to_string())),
    }
    print_checks(&checks, arguments.json)?;
    let has_failed = checks.iter().any(|check| check.verdict == Verdict::Failed);
    Ok(if has_failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

async fn check_store(arguments: &Arguments, settings: &Settings, checks: &mut Vec<Check>) {
    if settings.database_url.is_none() && !settings.data_dir.exists() {
        let folder = settings.data_dir.display();
        checks.push(warning(
            "store",
            format!("there is nothing in `{folder}` yet: `voxray serve` makes it"),
        ));
        return;
    }
    let postgres = match open::postgres(settings, Hold::Command).await {
        Ok(postgres) => postgres,
        Err(failure) => return checks.push(failed("store", failure.message)),
    };
    let store = Store::connect(postgres.options, 1);
    match store.server().await {
        Ok(server) => {
            check_server(&server, checks);
            if let Err(error) = store.holds_every_script().await {
                checks.push(failed("encoding", error.to_string()));
            }
            match store.schema().await {
                Ok(schema) => {
                    checks.push(check_schema(&schema));
                    if arguments.recount {
                        check_rollups(arguments, &store, &schema, checks).await;
                    }
                }
                Err(error) => checks.push(failed("migrations", error.to_string())),
            }
        }
        Err(error) => checks.push(failed("store", error.to_string())),
    }
    store.close().await;
    if let Err(failure) = open::stop(postgres.embedded).await {
        checks.push(failed("store", failure.message));
    }
}

async fn check_recordings(settings: &Settings) -> Check {
    let location = settings.recordings_location();
    let place = location.to_string();
    if settings.recordings_url.is_none() && !settings.data_dir.exists() {
        let detail = format!("{place} is not there yet: the first recording makes it");
        return warning("recordings", detail);
    }
    match Objects::new(location, settings.spool_dir(), None)
        .check()
        .await
    {
        Ok(()) => ok("recordings", format!("{place} can be written to")),
        Err(error) => failed(
            "recordings",
            format!("{place} cannot be written to: {error}"),
        ),
    }
}

fn check_server(server: &Server, checks: &mut Vec<Check>) {
    let version = &server.version;
    let major = version
        .split(|c: char| !c.is_ascii_digit())
        .next()
        .and_then(|major| major.parse::<u32>().ok());
    checks.push(if major.is_some_and(|major| major >= OLDEST_POSTGRES) {
        ok("store", format!("PostgreSQL {version} answers"))
    } else {
        failed(
            "store",
            format!("PostgreSQL {version} is too old: {OLDEST_POSTGRES} or later is needed"),
        )
    });
    for (name, value) in &server.settings {
        if value == "off" {
            let detail = format!(
                "`{name}` is off: what was acknowledged can be lost when the machine stops"
            );
            checks.push(warning("durability", detail));
        }
    }
    if server.settings.iter().all(|(_, value)| value != "off") {
        checks.push(ok("durability", "what is acknowledged is on disk"));
    }
    let skew = server.now - Clock::system().now();
    let detail = format!(
        "the database's clock differs by {} ms",
        skew.num_milliseconds()
    );
    checks.push(if skew.abs() <= TimeDelta::seconds(SKEW_MAX_SECONDS) {
        ok("clock", detail)
    } else {
        warning("clock", format!("{detail}: set both by NTP"))
    });
}

async fn check_rollups(
    arguments: &Arguments,
    store: &Store,
    schema: &Schema,
    checks: &mut Vec<Check>,
) {
    if schema.applied != schema.known {
        return checks.push(failed("recount", "needs all migrations: `voxray migrate`"));
    }
    let tenants = match recount::tenants(store, arguments.tenant.as_deref()).await {
        Ok(tenants) => tenants,
        Err(error) => return checks.push(failed("recount", error.to_string())),
    };
    let now = Clock::system().now();
    for tenant in tenants {
        checks.push(
            match recount::recount(store, &tenant, arguments.repair, now).await {
                Ok(found) => Check {
                    name: "recount",
                    verdict: if found.is_right() {
                        Verdict::Ok
                    } else {
                        Verdict::Failed
                    },
                    detail: found.told(&tenant.name),
                    more: found.to_json(&tenant),
                },
                Err(error) => failed("recount", format!("tenant `{}`: {error}", tenant.name)),
            },
        );
        checks.push(check_audio(store, &tenant, arguments.repair).await);
    }
}

/// Whether a tenant's audio is as much as its quota is measured by.
async fn check_audio(store: &Store, tenant: &Tenant, repairs: bool) -> Check {
    let scope = Scope::for_operator(store, tenant.id);
    let (kept, counted) = match recordings::recount(&scope, repairs).await {
        Ok(counts) => counts,
        Err(error) => {
            let detail = format!("tenant `{}`: {error}", tenant.name);
            return failed("recordings", detail);
        }
    };
    let detail = format!(
        "tenant `{}`: {} recordings of {} bytes are known of, counted {} of {}",
        tenant.name, kept.recordings, kept.size_bytes, counted.recordings, counted.size_bytes
    );
    match kept == counted {
        true => ok("recordings", detail),
        false if repairs => ok("recordings", format!("{detail}; repaired")),
        false => failed("recordings", format!("{detail}; `--repair` has it right")),
    }
}

fn check_schema(schema: &Schema) -> Check {
    let Schema { applied, known, .. } = schema;
    match applied.cmp(known) {
        std::cmp::Ordering::Equal => ok("migrations", format!("all {known} are applied")),
        std::cmp::Ordering::Less => warning(
            "migrations",
            format!("{applied} of {known} are applied: `voxray migrate` applies the rest"),
        ),
        std::cmp::Ordering::Greater => failed(
            "migrations",
            format!("{applied} are applied, but this version knows only {known}: update it"),
        ),
    }
}

fn print_checks(checks: &[Check], as_json: bool) -> std::io::Result<()> {
    if as_json {
        let items = checks.iter().map(|check| {
            let mut item = check.more.clone();
            item.insert("check".to_owned(), json!(check.name));
            item.insert("verdict".to_owned(), json!(check.verdict.as_str()));
            item.insert("detail".to_owned(), json!(check.detail));
            Value::Object(item)
        });
        return print::json(&Value::from_iter(items));
    }
    let rows: Vec<_> = checks
        .iter()
        .map(|check| {
            vec![
                check.name.to_owned(),
                check.verdict.as_str().to_owned(),
                check.detail.clone(),
            ]
        })
        .collect();
    print::table(&["CHECK", "VERDICT", "DETAIL"], &rows)
}

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

fn ok(name: &'static str, detail: impl Into<String>) -> Check {
    Check {
        name,
        verdict: Verdict::Ok,
        detail: detail.into(),
        more: Map::new(),
    }
}

fn warning(name: &'static str, detail: impl Into<String>) -> Check {
    Check {
        name,
        verdict: Verdict::Warning,
        detail: detail.into(),
        more: Map::new(),
    }
}

fn failed(name: &'static str, detail: impl Into<String>) -> Check {
    Check {
        name,
        verdict: Verdict::Failed,
        detail: detail.into(),
        more: Map::new(),
    }
}
