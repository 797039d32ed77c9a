//! The table of settings, as they are told to people.

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
    server(
        "log_format",
        "VOXRAY_LOG_FORMAT",
        "human",
        "`human` or `json`",
    ),
    server(
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
        "trust_proxy",
        "VOXRAY_TRUST_PROXY",
        "false",
        "Believe `X-Forwarded-Proto` and `X-Forwarded-Host` where the address of a webhook is signed",
    ),
    server(
        "public_url",
        "VOXRAY_PUBLIC_URL",
        "",
        "Where browsers reach the server; with `https://` the console's cookie is for TLS alone, also where a proxy does \
         not say `X-Forwarded-Proto`",
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
    server(
        "live_connections_per_tenant",
        "VOXRAY_LIVE_CONNECTIONS_PER_TENANT",
        "200",
        "Sockets and streams of one tenant at once; more are answered 429",
    ),
    server(
        "live_send_timeout_seconds",
        "VOXRAY_LIVE_SEND_TIMEOUT_SECONDS",
        "10",
        "A socket or stream that takes nothing for so long is closed",
    ),
    store(
        "recordings_url",
        "VOXRAY_RECORDINGS_URL",
        "",
        "Where recordings are kept: `file:///path`, or `s3://bucket/prefix` with the usual `AWS_...` \
         variables [default: `recordings` below the data directory]",
    ),
    server(
        "recordings_limit_bytes",
        "VOXRAY_RECORDINGS_LIMIT_BYTES",
        "536870912",
        "Largest recording",
    ),
    server(
        "recordings_quota_bytes",
        "VOXRAY_RECORDINGS_QUOTA_BYTES",
        "0",
        "Audio that each tenant may have; 0 is without a bound",
    ),
    server(
        "recordings_timeout_seconds",
        "VOXRAY_RECORDINGS_TIMEOUT_SECONDS",
        "900",
        "Longest time for taking one recording in",
    ),
    server(
        "recordings_allowed_hosts",
        "VOXRAY_RECORDINGS_ALLOWED_HOSTS",
        "",
        "Hosts that recordings may be fetched from, as `host` or `host:port`, separated by commas \
         [default: none]",
    ),
    server(
        "recordings_allow_private",
        "VOXRAY_RECORDINGS_ALLOW_PRIVATE",
        "false",
        "Fetch recordings from private and loopback addresses too, if their host is allowed",
    ),
];
