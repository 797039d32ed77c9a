//! Reading settings: each value once, in the form that the table promises; every fault collected.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use axum::http::{HeaderValue, Uri};
use tracing_subscriber::EnvFilter;
use url::Url;

use super::table::SETTINGS;
use super::{LogFormat, Settings, SettingsError};
use crate::objects::{Location, Rules};
use crate::store::embedded::default_data_dir;

/// Where a value came from, as it is told in a complaint.
pub(super) type Source = String;

/// Values as they were given, the winning source only.
#[derive(Default)]
pub(super) struct Sources {
    pub given: Vec<(&'static str, String, Source)>,
}

impl Sources {
    pub fn read(self) -> Result<Settings, SettingsError> {
        let mut r = Reader {
            sources: self,
            faults: Vec::new(),
        };
        let settings = Settings {
            listen: r.parsed("listen", "an address and port such as `127.0.0.1:8787`"),
            data_dir: r
                .value("data_dir")
                .map_or_else(default_data_dir, PathBuf::from),
            database_url: r.database_url(),
            metrics_listen: r.checked(
                "metrics_listen",
                "an address and port such as `127.0.0.1:9187`, or `off`",
                |text| {
                    if text == "off" {
                        Some(None)
                    } else {
                        text.parse().ok().map(Some)
                    }
                },
            ),
            log_format: r.checked("log_format", "`human` or `json`", log_format),
            log_level: r.checked(
                "log_level",
                "a level such as `info`, or `info,voxray=debug`",
                |text| EnvFilter::try_new(text).ok().map(|_| text.to_owned()),
            ),
            pool_size: r.number("pool_size", 1..=1000),
            body_limit_bytes: r.number("body_limit_bytes", 1024..=1 << 30),
            request_timeout: Duration::from_secs(r.number("request_timeout_seconds", 1..=3600)),
            concurrency_limit: r.number("concurrency_limit", 1..=1_000_000),
            cors_origins: r.checked(
                "cors_origins",
                "origins such as `https://dash.example.org`, separated by commas",
                origins,
            ),
            trust_proxy: r.parsed("trust_proxy", "`true` or `false`"),
            public_url: r.checked(
                "public_url",
                "a URL such as `https://voxray.example.org`",
                public_url,
            ),
            ingest_queue_bytes: r.number("ingest_queue_bytes", 1 << 20..=1 << 34),
            session_timeout: minutes(r.number("session_timeout_minutes", 1..=100_000)),
            ring_timeout: minutes(r.number("ring_timeout_minutes", 1..=100_000)),
            shutdown_grace: Duration::from_secs(r.number("shutdown_grace_seconds", 0..=3600)),
            cache_ttl: Duration::from_millis(r.number("cache_ttl_ms", 0..=2000)),
            live_connections: r.number("live_connections_per_tenant", 1..=100_000),
            live_send_timeout: Duration::from_secs(r.number("live_send_timeout_seconds", 1..=300)),
            recordings_url: r.checked("recordings_url", Location::FORM, |text| match text {
                "" => Some(None),
                _ => Location::parse(text).map(Some),
            }),
            recordings_limit_bytes: r.number("recordings_limit_bytes", 1024..=1 << 35),
            recordings_quota_bytes: Some(r.number("recordings_quota_bytes", 0..=1 << 60))
                .filter(|quota| *quota > 0),
            recordings_timeout: Duration::from_secs(
                r.number("recordings_timeout_seconds", 1..=86_400),
            ),
            recordings_rules: Rules {
                allowed_hosts: r.checked(
                    "recordings_allowed_hosts",
                    "hosts such as `api.example.org` or `files.example.org:8443`, separated by commas",
                    hosts,
                ),
                allow_private: r.parsed("recordings_allow_private", "`true` or `false`"),
            },
        };
        if r.faults.is_empty() {
            Ok(settings)
        } else {
            Err(SettingsError(r.faults))
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
        let given = self.sources.given.iter().find(|(given, ..)| *given == name);
        given.map(|(_, value, _)| value.clone())
    }

    /// What was given, or the default. A wrong value is noted, and the default takes its place until
    /// all are read.
    fn checked<T>(&mut self, name: &str, form: &str, read: impl Fn(&str) -> Option<T>) -> T {
        let given = self.sources.given.iter().find(|(given, ..)| *given == name);
        if let Some((_, value, source)) = given {
            match read(value) {
                Some(value) => return value,
                None => self.faults.push(format!(
                    "setting `{name}` from {source}: must be {form}, got `{value}`"
                )),
            }
        }
        match read(default_of(name)) {
            Some(default) => default,
            None => unreachable!("the default of `{name}` must be {form}"),
        }
    }

    fn parsed<T: FromStr>(&mut self, name: &str, form: &str) -> T {
        self.checked(name, form, |text| text.parse().ok())
    }

    fn number<N>(&mut self, name: &str, range: RangeInclusive<N>) -> N
    where
        N: FromStr + PartialOrd + Display,
    {
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

fn log_format(text: &str) -> Option<LogFormat> {
    match text {
        "human" => Some(LogFormat::Human),
        "json" => Some(LogFormat::Json),
        _ => None,
    }
}

fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

/// None within: there is none.
fn public_url(text: &str) -> Option<Option<Url>> {
    if text.is_empty() {
        return Some(None);
    }
    let url = Url::parse(text).ok()?;
    let is_root = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    (["http", "https"].contains(&url.scheme()) && is_root).then_some(Some(url))
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

fn hosts(text: &str) -> Option<Vec<String>> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(host)
        .collect()
}

/// A host and perhaps a port, as they stand in a URL.
fn host(text: &str) -> Option<String> {
    let authority: axum::http::uri::Authority = text.parse().ok()?;
    let is_plain = !text.contains('@') && !text.ends_with(':') && !authority.host().is_empty();
    is_plain.then(|| text.to_ascii_lowercase())
}
