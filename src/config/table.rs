//! The table of settings, and reading one value after the other.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use axum::http::{HeaderValue, Uri};
use tracing_subscriber::EnvFilter;

use super::{LogFormat, Settings, SettingsError};

/// One setting, as it is told to people.
pub struct Setting {
    /// Its key in the file; the flag has dashes for underscores.
    pub name: &'static str,
    pub env: &'static str,
    /// Empty: none, or said in `help`.
    pub default: &'static str,
    pub help: &'static str,
    /// Whether commands other than `serve` have a use for it.
    pub for_every_command: bool,
}

const fn store(
    name: &'static str,
    env: &'static str,
    default: &'static str,
    help: &'static str,
) -> Setting {
    Setting {
        name,
        env,
        default,
        help,
        for_every_command: true,
    }
}

const fn server(
    name: &'static str,
    env: &'static str,
    default: &'static str,
    help: &'static str,
) -> Setting {
    Setting {
        name,
        env,
        default,
        help,
        for_every_command: false,
    }
}

pub const SETTINGS: &[Setting] = &[
    server(
        "listen",
        "VOXRAY_LISTEN",
        "127.0.0.1:8787",
        "Address and port of the API",
    ),
    store(
        "data_dir",
        "VOXRAY_DATA_DIR",
        "",
        "Directory of the private Postgres and of recordings \
         [default: /var/lib/voxray as root, else ~/.local/share/voxray]",
    ),
    store(
        "database_url",
        "DATABASE_URL",
        "",
        "A Postgres of your own, instead of the private one",
    ),
    server(
        "metrics_listen",
        "VOXRAY_METRICS_LISTEN",
        "127.0.0.1:9187",
        "Address of Prometheus metrics, or `off`",
    ),
    store(
        "log_format",
        "VOXRAY_LOG_FORMAT",
        "human",
        "`human` or `json`",
    ),
    store(
        "log_level",
        "VOXRAY_LOG_LEVEL",
        "info",
        "Level, or levels by module such as `info,voxray=debug`",
    ),
    server(
        "pool_size",
        "VOXRAY_POOL_SIZE",
        "8",
        "Connections to Postgres for short statements",
    ),
    server(
        "body_limit_bytes",
        "VOXRAY_BODY_LIMIT_BYTES",
        "10485760",
        "Largest body, decompressed",
    ),
    server(
        "request_timeout_seconds",
        "VOXRAY_REQUEST_TIMEOUT_SECONDS",
        "30",
        "Longest time for one request",
    ),
    server(
        "concurrency_limit",
        "VOXRAY_CONCURRENCY_LIMIT",
        "1024",
        "Requests at once; more are answered 503",
    ),
    server(
        "cors_origins",
        "VOXRAY_CORS_ORIGINS",
        "",
        "Origins whose pages may call the API, separated by commas",
    ),
    server(
        "ingest_queue_bytes",
        "VOXRAY_INGEST_QUEUE_BYTES",
        "33554432",
        "Events waiting to be written, in memory",
    ),
    server(
        "session_timeout_minutes",
        "VOXRAY_SESSION_TIMEOUT_MINUTES",
        "30",
        "A session without news for so long counts as ended",
    ),
    server(
        "ring_timeout_minutes",
        "VOXRAY_RING_TIMEOUT_MINUTES",
        "10",
        "A session queued or ringing for so long counts as missed",
    ),
    server(
        "shutdown_grace_seconds",
        "VOXRAY_SHUTDOWN_GRACE_SECONDS",
        "20",
        "Time for requests in flight to end at shutdown",
    ),
    server(
        "cache_ttl_ms",
        "VOXRAY_CACHE_TTL_MS",
        "1000",
        "How long an analytics answer is reused",
    ),
];

/// Where a value came from, as it is told in a complaint.
pub(super) type Source = String;

/// Values as they were given, the winning source only.
#[derive(Default)]
pub(super) struct Sources {
    pub given: Vec<(&'static str, String, Source)>,
}

impl Sources {
    pub fn read(self) -> Result<Settings, SettingsError> {
        let mut reader = Reader {
            sources: self,
            faults: Vec::new(),
        };
        let seconds = |n: u64| Duration::from_secs(n);
        let minutes = |n: u64| Duration::from_secs(n * 60);
        let settings = (|| {
            let r = &mut reader;
            // Every setting is read before the first missing one ends this, so that all faults are told.
            let listen = r.parsed("listen", "an address and port such as `127.0.0.1:8787`");
            let data_dir = r
                .value("data_dir")
                .map_or_else(default_data_dir, |path| Some(PathBuf::from(path)));
            let database_url = r.database_url();
            let metrics_listen = r.or_off(
                "metrics_listen",
                "an address and port such as `127.0.0.1:9187`, or `off`",
            );
            let log_format = r.checked("log_format", "`human` or `json`", |text| match text {
                "human" => Some(LogFormat::Human),
                "json" => Some(LogFormat::Json),
                _ => None,
            });
            let log_level = r.checked(
                "log_level",
                "a level such as `info`, or `info,voxray=debug`",
                |text| EnvFilter::try_new(text).ok().map(|_| text.to_owned()),
            );
            let pool_size = r.number("pool_size", 1..=1000);
            let body_limit_bytes = r.number("body_limit_bytes", 1024..=1 << 30);
            let request_timeout = r.number("request_timeout_seconds", 1..=3600);
            let concurrency_limit = r.number("concurrency_limit", 1..=1_000_000);
            let cors_origins = r.checked(
                "cors_origins",
                "origins such as `https://dash.example.org`, separated by commas",
                origins,
            );
            let ingest_queue_bytes = r.number("ingest_queue_bytes", 1 << 20..=1 << 34);
            let session_timeout = r.number("session_timeout_minutes", 1..=100_000);
            let ring_timeout = r.number("ring_timeout_minutes", 1..=100_000);
            let shutdown_grace = r.number("shutdown_grace_seconds", 0..=3600);
            let cache_ttl = r.number("cache_ttl_ms", 0..=2000);
            if data_dir.is_none() {
                r.faults.push("setting `data_dir` has no default without a home directory: set VOXRAY_DATA_DIR".into());
            }
            Some(Settings {
                listen: listen?,
                data_dir: data_dir?,
                database_url,
                metrics_listen: metrics_listen?,
                log_format: log_format?,
                log_level: log_level?,
                pool_size: pool_size?,
                body_limit_bytes: body_limit_bytes?,
                request_timeout: seconds(request_timeout?),
                concurrency_limit: concurrency_limit?,
                cors_origins: cors_origins?,
                ingest_queue_bytes: ingest_queue_bytes?,
                session_timeout: minutes(session_timeout?),
                ring_timeout: minutes(ring_timeout?),
                shutdown_grace: seconds(shutdown_grace?),
                cache_ttl: Duration::from_millis(cache_ttl?),
            })
        })();
        match settings {
            Some(settings) if reader.faults.is_empty() => Ok(settings),
            _ => Err(SettingsError(reader.faults)),
        }
    }
}

struct Reader {
    sources: Sources,
    faults: Vec<String>,
}

impl Reader {
    /// What was given, if anything.
    fn value(&self, name: &str) -> Option<String> {
        self.sources
            .given
            .iter()
            .find(|(given, ..)| *given == name)
            .map(|(_, value, _)| value.clone())
    }

    fn checked<T>(
        &mut self,
        name: &str,
        form: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let given = self.sources.given.iter().find(|(given, ..)| *given == name);
        let (value, source) = match given {
            Some((_, value, source)) => (value.clone(), source.clone()),
            None => (default_of(name).to_owned(), "its default".to_owned()),
        };
        let read = read(&value);
        if read.is_none() {
            self.faults.push(format!(
                "setting `{name}` from {source}: must be {form}, got `{value}`"
            ));
        }
        read
    }

    fn parsed<T: FromStr>(&mut self, name: &str, form: &str) -> Option<T> {
        self.checked(name, form, |text| text.parse().ok())
    }

    fn or_off<T: FromStr>(&mut self, name: &str, form: &str) -> Option<Option<T>> {
        self.checked(name, form, |text| {
            if text == "off" {
                Some(None)
            } else {
                text.parse().ok().map(Some)
            }
        })
    }

    fn number<N: FromStr + PartialOrd + Display>(
        &mut self,
        name: &str,
        range: RangeInclusive<N>,
    ) -> Option<N> {
        let form = format!(
            "a whole number between {} and {}",
            range.start(),
            range.end()
        );
        self.checked(name, &form, |text| {
            text.parse().ok().filter(|n| range.contains(n))
        })
    }

    /// Never told back: it may hold a password.
    fn database_url(&mut self) -> Option<String> {
        let (_, url, source) = self
            .sources
            .given
            .iter()
            .find(|(name, ..)| *name == "database_url")?;
        match crate::store::parse_url(url) {
            Ok(_) => return Some(url.clone()),
            Err(message) => self
                .faults
                .push(format!("setting `database_url` from {source}: {message}")),
        }
        None
    }
}

fn default_of(name: &str) -> &'static str {
    SETTINGS
        .iter()
        .find(|setting| setting.name == name)
        .map_or("", |setting| setting.default)
}

fn default_data_dir() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some(PathBuf::from("/var/lib/voxray"));
    }
    let below_home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/share"));
    let base = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(below_home)?;
    Some(base.join("voxray"))
}

fn origins(text: &str) -> Option<Vec<HeaderValue>> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(origin)
        .collect()
}

/// Scheme, host and perhaps a port: as browsers send it.
fn origin(text: &str) -> Option<HeaderValue> {
    let uri: Uri = text.parse().ok()?;
    let is_origin = matches!(uri.scheme_str(), Some("http" | "https"))
        && uri
            .authority()
            .is_some_and(|authority| text.ends_with(authority.as_str()));
    is_origin
        .then(|| HeaderValue::from_str(text).ok())
        .flatten()
}
