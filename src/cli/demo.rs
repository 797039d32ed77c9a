//! `voxray demo`: the server, with sample calls in it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::app::{App, Tasks};
use crate::auth::key;
use crate::cli::load::Loader;
use crate::cli::{Failure, print, serve};
use crate::config::ServerSettings;
use crate::domain::Error;
use crate::domain::Result;
use crate::domain::access::{Right, Tenant};
use crate::domain::audit::OPERATOR;
use crate::domain::ids::TenantId;
use crate::domain::page::{Limit, Start};
use crate::domain::record::Filter;
use crate::samples::format;
use crate::samples::generate;
use crate::samples::generate::{CALL_MAX, Detail, Plan};
use crate::samples::real;
use crate::services::retention;
use crate::services::sessions;
use crate::store::api_keys;
use crate::store::api_keys::NewKey;
use crate::store::{Scope, rollups, tenants};
use crate::telemetry;

/// Run the server with sample calls in it: real ones, and generated ones up to now
///
/// The first start fills the store with two tenants and prints a key; later starts reuse both.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  voxray demo")]
pub struct Arguments {
    #[command(flatten)]
    settings: ServerSettings,
}

/// A tenant of the demo, and how busy it is.
struct Shop {
    name: &'static str,
    seed: u64,
    calls_per_day: f64,
    has_real_calls: bool,
}

const SHOPS: [Shop; 2] = [
    Shop {
        name: "demo",
        seed: 1,
        calls_per_day: 90.0,
        has_real_calls: true,
    },
    Shop {
        name: "demo-neighbour",
        seed: 2,
        calls_per_day: 30.0,
        has_real_calls: false,
    },
];

/// Generated calls reach so far back when a demo starts for the first time.
const HISTORY: TimeDelta = TimeDelta::days(30);
/// A later start begins so much before what it finds: making a call up twice changes nothing.
const OVERLAP: TimeDelta = TimeDelta::hours(1);
const GO_ON_EVERY: Duration = Duration::from_secs(20);
const KEY_FILE: &str = "demo.key";

pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let settings = arguments.settings.load()?;
    telemetry::log(settings.log_format, &settings.log_level);
    serve::until_stopped(settings, async |app, tasks| open(app, tasks).await).await
}

async fn open(app: &App, tasks: &Tasks) -> Result<(), Failure> {
    let now = app.clock.now();
    let mut businesses = Vec::new();
    for shop in &SHOPS {
        let tenant = tenant(app, shop.name, now).await?;
        let scope = Scope::for_operator(&app.store, tenant.id);
        // Sample calls are to be there whenever somebody looks.
        retention::keep_forever(&scope, OPERATOR, now).await?;
        let until = match newest(&scope).await? {
            // Calls that were going on when the demo was stopped are the newest.
            Some(newest) => newest.min(now) - OVERLAP,
            None => {
                fill(app, &scope, shop, now).await?;
                now - CALL_MAX
            }
        };
        businesses.push(Business {
            shop,
            scope,
            until,
            live: Vec::new(),
        });
    }
    rollups::drain(&app.store, now).await?;
    let key = demo_key(app, businesses[0].scope.tenant(), now).await?;
    print::line(&greeting(&format!("http://{}", app.settings.listen), &key))?;
    let (app, businesses) = (app.clone(), Arc::new(Mutex::new(businesses)));
    tasks.every(GO_ON_EVERY, move || go_on(app.clone(), businesses.clone()));
    Ok(())
}

async fn tenant(app: &App, name: &str, now: DateTime<Utc>) -> Result<Tenant> {
    match tenants::find(&app.store, name).await {
        Err(Error::NotFound(_)) => {}
        found => return found,
    }
    let tenant = Tenant {
        id: TenantId(Uuid::new_v4()),
        name: name.to_owned(),
        created_at: now,
    };
    let (stored, _) = new_key(tenant.id, "first key", [Right::Admin], now);
    tenants::create(&app.store, &tenant, &stored).await?;
    Ok(tenant)
}

/// When the newest generated call began, if there is any.
async fn newest(scope: &Scope) -> Result<Option<DateTime<Utc>>> {
    let filter = Filter {
        tag: Some(generate::TAG.to_owned()),
        ..Filter::default()
    };
    let page = sessions::page(scope, None, &filter, &Start::Beginning, Limit::checked(1)).await?;
    Ok(page.items.first().map(|newest| newest.started_at))
}

/// Real calls first, so that they are there even if somebody is impatient.
async fn fill(app: &App, scope: &Scope, shop: &Shop, now: DateTime<Utc>) -> Result<(), Failure> {
    let expected = (shop.calls_per_day * HISTORY.num_days() as f64) as u64;
    let bar = bar(expected, shop.name);
    let mut loader = Loader::new(&app.writer, scope, now);
    if shop.has_real_calls {
        for call in real_calls(scope, now).await? {
            loader.push((0, 0), call.to_string().as_bytes());
        }
        refuse_none(&mut loader).await?;
    }
    for call in generate::calls(&plan(shop), now - HISTORY, now - CALL_MAX) {
        bar.inc(1);
        if loader.push((0, bar.position()), call.to_string().as_bytes()) {
            refuse_none(&mut loader).await?;
        }
    }
    refuse_none(&mut loader).await?;
    bar.finish_and_clear();
    Ok(())
}

/// Those that are not there yet: a call that was placed once stays where it is.
async fn real_calls(scope: &Scope, now: DateTime<Utc>) -> Result<Vec<Value>, Failure> {
    let mut calls = Vec::new();
    for call in real::demo_calls(now).map_err(Failure::new)? {
        let id = call["session"]["sessionId"].as_str().unwrap_or_default();
        if matches!(
            sessions::by_reference(scope, None, id).await,
            Err(Error::NotFound(_))
        ) {
            calls.push(call);
        }
    }
    Ok(calls)
}

/// What goes on in one tenant of the demo while it runs.
struct Business {
    shop: &'static Shop,
    scope: Scope,
    /// Up to when calls have been made up.
    until: DateTime<Utc>,
    /// Calls that were going on when it was looked last.
    live: Vec<Value>,
}

impl Business {
    /// Makes up the calls that are over by now, and moves those on that are not.
    async fn go_on(&mut self, app: &App, now: DateTime<Utc>) -> Result<()> {
        let plan = plan(self.shop);
        let until = now - CALL_MAX;
        let live = generate::live(&plan, now);
        let is_going_on = |call: &Value| live.iter().any(|other| id(other) == id(call));
        let over = self
            .live
            .iter()
            .filter(|call| !is_going_on(call))
            .map(|call| hung_up(call, now));
        let mut loader = Loader::new(&app.writer, &self.scope, now);
        for call in generate::calls(&plan, self.until, until)
            .chain(over)
            .chain(live.iter().cloned())
        {
            if loader.push((0, 0), call.to_string().as_bytes()) {
                loader.flush().await?;
            }
        }
        loader.flush().await?;
        (self.until, self.live) = (until.max(self.until), live);
        Ok(())
    }
}

async fn go_on(app: App, businesses: Arc<Mutex<Vec<Business>>>) {
    for business in businesses.lock().await.iter_mut() {
        if let Err(error) = business.go_on(&app, app.clock.now()).await {
            tracing::warn!(%error, "the demo's calls could not be topped up");
        }
    }
}

fn id(call: &Value) -> &Value {
    &call["session"]["sessionId"]
}

/// A call that was going on, and is not any more.
fn hung_up(call: &Value, now: DateTime<Utc>) -> Value {
    let mut call = call.clone();
    let was_answered = call["session"]["status"] == "active";
    call["session"]["status"] = Value::from(if was_answered { "completed" } else { "missed" });
    call["session"]["endedAt"] = Value::from(now.to_rfc3339());
    call
}

/// What is made up here is sound, or this program is not.
async fn refuse_none(loader: &mut Loader<'_>) -> Result<(), Failure> {
    match loader.flush().await?.first() {
        Some(refused) => Err(Failure::new(format!(
            "a sample call was refused: {}",
            refused.reasons
        ))),
        None => Ok(()),
    }
}

fn plan(shop: &Shop) -> Plan {
    Plan {
        seed: shop.seed,
        calls_per_day: shop.calls_per_day,
        detail: Detail::Full,
    }
}

fn bar(length: u64, name: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(length).with_message(name);
    let style =
        ProgressStyle::with_template("{msg:>16} {bar:30} {pos}/{len} calls, {per_sec}, {eta} left");
    style
        .map(|style| bar.clone().with_style(style))
        .unwrap_or(bar)
}

/// The key is kept beside the data, so that a second start can tell it too.
async fn demo_key(app: &App, tenant: TenantId, now: DateTime<Utc>) -> Result<String, Failure> {
    let file = app.settings.data_dir.join(KEY_FILE);
    if let Some(text) = fs::read_to_string(&file)
        .ok()
        .map(|text| text.trim().to_owned())
        && let Some(presented) = key::parse(&text)
        && app.keyring.open(&presented, now).await?.is_some()
    {
        return Ok(text);
    }
    let rights = [
        Right::SessionsRead,
        Right::TranscriptsRead,
        Right::IngestWrite,
        Right::ReviewsWrite,
    ];
    let (stored, text) = new_key(tenant, "demo", rights, now);
    api_keys::create(&app.store, &stored).await?;
    keep(&file, &text).map_err(|error| Failure::new(format!("`{}`: {error}", file.display())))?;
    Ok(text)
}

fn new_key<const N: usize>(
    tenant: TenantId,
    name: &str,
    rights: [Right; N],
    now: DateTime<Utc>,
) -> (NewKey, String) {
    let key = key::generate();
    let stored = NewKey {
        id: key.id,
        tenant,
        name: name.to_owned(),
        hash: key.hash,
        rights: rights.into_iter().collect(),
        created_at: now,
        expires_at: None,
    };
    (stored, key.text)
}

fn keep(file: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file)?;
    writeln!(file, "{text}")
}

fn greeting(base: &str, key: &str) -> String {
    format!(
        "
Voxray is serving sample calls. Look at them at {base}/console, signed in with this key
(reference: {base}/docs).
Real calls are tagged `{real}`, made-up ones `{made_up}`.

  export VOXRAY_KEY={key}

  curl -s -H \"Authorization: Bearer $VOXRAY_KEY\" '{base}/v1/observability/sessions?limit=5'
  curl -s -H \"Authorization: Bearer $VOXRAY_KEY\" '{base}/v1/observability/sessions/eva-1.1.2-2026-03-01'
  curl -s -H \"Authorization: Bearer $VOXRAY_KEY\" '{base}/api/v1/analytics/summary?period=30d'

Ctrl-C stops it; the next start goes on with the same data.",
        real = format::REAL_TAG,
        made_up = generate::TAG,
    )
}
