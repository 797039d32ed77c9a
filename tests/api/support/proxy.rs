//! Stands between a server and its database, and can go away like one.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_util::sync::CancellationToken;

pub struct Proxy {
    port: u16,
    options: PgConnectOptions,
    /// Cancelled: every connection breaks, and new ones break at once.
    away: Arc<Mutex<CancellationToken>>,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Proxy {
    pub async fn before(url: &str) -> Self {
        let options: PgConnectOptions = url.parse().expect("a URL");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let away = Arc::new(Mutex::new(CancellationToken::new()));
        tokio::spawn(accept(listener, options.clone(), away.clone()));
        Self {
            port,
            options,
            away,
        }
    }

    pub fn url(&self) -> String {
        let (user, name) = (
            self.options.get_username(),
            self.options.get_database().expect("a database"),
        );
        format!("postgres://{user}@127.0.0.1:{}/{name}", self.port)
    }

    pub fn go_away(&self) {
        self.away.lock().expect("a token").cancel();
    }

    pub fn come_back(&self) {
        *self.away.lock().expect("a token") = CancellationToken::new();
    }
}

async fn accept(
    listener: TcpListener,
    options: PgConnectOptions,
    away: Arc<Mutex<CancellationToken>>,
) {
    while let Ok((mut client, _)) = listener.accept().await {
        let away = away.lock().expect("a token").clone();
        let options = options.clone();
        tokio::spawn(away.run_until_cancelled_owned(async move {
            let mut database = upstream(&options).await;
            let _ = copy_bidirectional(&mut client, &mut database).await;
        }));
    }
}

async fn upstream(options: &PgConnectOptions) -> Box<dyn Stream> {
    let (host, port) = (options.get_host(), options.get_port());
    let folder = options
        .get_socket()
        .cloned()
        .or_else(|| host.starts_with('/').then(|| PathBuf::from(host)));
    match folder {
        Some(folder) => {
            let path = folder.join(format!(".s.PGSQL.{port}"));
            Box::new(
                UnixStream::connect(path)
                    .await
                    .expect("the database's socket"),
            )
        }
        None => Box::new(
            TcpStream::connect((host, port))
                .await
                .expect("the database"),
        ),
    }
}
