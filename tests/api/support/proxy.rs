//! Stands between a server and its database, and can go away like one.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use sqlx::postgres::PgConnectOptions;
use tokio::io::{self, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub struct Proxy {
    port: u16,
    options: PgConnectOptions,
    /// Cancelled: every connection breaks, and new ones break at once.
    away: Arc<Mutex<CancellationToken>>,
    /// Whether the database is asked and heard no more, while every connection stands.
    hangs: Arc<Mutex<watch::Sender<bool>>>,
    /// The same of connections that were lost: they hang for as long as this is here.
    lost: Mutex<Vec<watch::Sender<bool>>>,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Proxy {
    pub async fn before(url: &str) -> Self {
        let options: PgConnectOptions = url.parse().expect("a URL");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let away = Arc::new(Mutex::new(CancellationToken::new()));
        let hangs = Arc::new(Mutex::new(watch::Sender::new(false)));
        tokio::spawn(accept(
            listener,
            options.clone(),
            away.clone(),
            hangs.clone(),
        ));
        Self {
            port,
            options,
            away,
            hangs,
            lost: Mutex::default(),
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

    pub fn hang(&self) {
        self.hangs.lock().expect("a channel").send_replace(true);
    }

    pub fn go_on(&self) {
        self.hangs.lock().expect("a channel").send_replace(false);
    }

    /// Nothing gets through any connection that stands, and nobody closes it; new ones are as ever.
    pub fn lose(&self) {
        let others = watch::Sender::new(false);
        let lost = std::mem::replace(&mut *self.hangs.lock().expect("a channel"), others);
        lost.send_replace(true);
        self.lost.lock().expect("a list").push(lost);
    }
}

async fn accept(
    listener: TcpListener,
    options: PgConnectOptions,
    away: Arc<Mutex<CancellationToken>>,
    hangs: Arc<Mutex<watch::Sender<bool>>>,
) {
    while let Ok((client, _)) = listener.accept().await {
        let away = away.lock().expect("a token").clone();
        let is_hanging = hangs.lock().expect("a channel").subscribe();
        let options = options.clone();
        tokio::spawn(away.run_until_cancelled_owned(async move {
            let (answers, asks) = io::split(upstream(&options).await);
            let (questions, hears) = io::split(client);
            let there = pass(questions, asks, is_hanging.clone());
            let back = pass(answers, hears, is_hanging);
            let _ = tokio::try_join!(there, back);
        }));
    }
}

/// Passes on what comes, but for the time in which nothing gets through.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut is_hanging: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut chunk = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut chunk).await?;
        let _ = is_hanging.wait_for(|hangs| !hangs).await;
        match read {
            0 => return to.shutdown().await,
            read => to.write_all(&chunk[..read]).await?,
        }
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
