//! A database for each test: a copy of a migrated template in one private Postgres, which the tests
//! of this process share and which goes when the process does, however it ends.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use sqlx::{ConnectOptions as _, PgConnection};
use tokio::sync::OnceCell;
use uuid::Uuid;
use voxray::store::embedded::{self, Embedded, Hold, Options};
use voxray::store::{ConnectOptions, Store};

const TEMPLATE: &str = "template_voxray";

static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();

struct Cluster {
    postgres: Embedded,
    folder: PathBuf,
    /// Postgres copies a template only while nobody uses it, so one copy at a time.
    copying: tokio::sync::Mutex<()>,
    /// Of tests that are over; dropped when the next test asks for a database.
    discarded: Mutex<Vec<String>>,
    /// Notices our end by its standard input.
    _undertaker: Child,
}

/// A migrated, empty database of one test.
pub struct TestDatabase {
    name: String,
    connect: ConnectOptions,
}

pub async fn database() -> TestDatabase {
    let cluster = CLUSTER.get_or_init(Cluster::start).await;
    let name = format!("test_{}", Uuid::now_v7().simple());
    let _alone = cluster.copying.lock().await;
    let mut admin = cluster.admin().await;
    for discarded in cluster.take_discarded() {
        run(
            &mut admin,
            format!("drop database {discarded} with (force)"),
        )
        .await;
    }
    run(
        &mut admin,
        format!("create database {name} template {TEMPLATE}"),
    )
    .await;
    let connect = cluster.postgres.connect_options().database(&name);
    TestDatabase { name, connect }
}

impl TestDatabase {
    pub fn connect_options(&self) -> ConnectOptions {
        self.connect.clone()
    }

    pub fn url(&self) -> String {
        self.connect.to_url_lossy().to_string()
    }

    /// Where this process keeps its Postgres.
    pub fn cluster_folder() -> &'static Path {
        &CLUSTER
            .get()
            .expect("a database was asked for before")
            .folder
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if let Some(cluster) = CLUSTER.get() {
            cluster.discard(std::mem::take(&mut self.name));
        }
    }
}

impl Cluster {
    /// Below the system's temporary folder, since the user of Postgres may not be able to enter this
    /// checkout. The undertaker comes first, so that even a failed start leaves nothing.
    async fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("voxray-api-{}", Uuid::new_v4().simple()));
        std::fs::create_dir(&folder).expect("a temporary folder");
        let passable = std::fs::Permissions::from_mode(0o711);
        std::fs::set_permissions(&folder, passable).expect("a passable folder");
        let undertaker = undertaker(&folder);
        let settings = [
            ("max_connections", "300"),
            ("shared_buffers", "128MB"),
            ("wal_level", "minimal"),
            ("max_wal_senders", "0"),
            ("autovacuum", "off"),
        ];
        let options = Options {
            data_dir: folder.clone(),
            hold: Hold::Server,
            durable: false,
            extra: settings
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        };
        let postgres = embedded::open(options).await.expect("a private Postgres");
        let cluster = Self {
            postgres,
            folder,
            copying: tokio::sync::Mutex::new(()),
            discarded: Mutex::default(),
            _undertaker: undertaker,
        };
        cluster.make_template().await;
        cluster
    }

    async fn make_template(&self) {
        run(
            &mut self.admin().await,
            format!("create database {TEMPLATE}"),
        )
        .await;
        let store = Store::connect(self.postgres.connect_options().database(TEMPLATE), 1);
        store.migrate().await.expect("the migrations");
        store.close().await;
    }

    async fn admin(&self) -> PgConnection {
        self.postgres
            .connect_options()
            .connect()
            .await
            .expect("a connection")
    }

    fn take_discarded(&self) -> Vec<String> {
        std::mem::take(
            &mut *self
                .discarded
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    fn discard(&self, name: String) {
        self.discarded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(name);
    }
}

/// Statements about whole databases, which take no parameters.
#[expect(
    clippy::disallowed_methods,
    reason = "a database's name cannot be bound, and these are our own"
)]
async fn run(connection: &mut PgConnection, statement: String) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
        .execute(connection)
        .await
        .expect("a statement on databases");
}

/// Waits for the end of this process (statics are not dropped, and a process may abort), then stops
/// Postgres and removes its folder. In a process group of its own, to outlive a Ctrl-C.
fn undertaker(folder: &Path) -> Child {
    const SCRIPT: &str = r#"
        while read -r _; do :; done
        file="$1/postgres/postmaster.pid"
        pid=$(head -n 1 "$file" 2>/dev/null)
        tries=0
        if [ -n "$pid" ] && kill -INT "$pid"; then
            # By its file: the process itself may stay on as a zombie.
            while [ -e "$file" ] && [ "$tries" -lt 200 ]; do
                sleep 0.05
                tries=$((tries + 1))
            done
            [ ! -e "$file" ] || kill -QUIT "$pid"
        fi
        rm -rf "$1"
    "#;
    let mut shell = Command::new("sh");
    shell
        .args(["-c", SCRIPT, "undertaker"])
        .arg(folder)
        .process_group(0)
        .current_dir("/");
    shell
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    shell.spawn().expect("a shell")
}
