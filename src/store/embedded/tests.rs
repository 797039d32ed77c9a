//! The private Postgres with real programs: each test on a data directory of its own below the
//! system's temporary one, as root or not, in any order.

use std::os::unix::fs::PermissionsExt;

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::process::PidFile;
use super::*;

/// A data directory that goes with its test.
pub(super) struct Folder(PathBuf, Durable);

/// Whether what was committed must survive the kill of Postgres.
type Durable = bool;

impl Folder {
    pub fn new() -> Self {
        Self::with(false)
    }

    fn durable() -> Self {
        Self::with(true)
    }

    fn with(durable: Durable) -> Self {
        let path =
            std::env::temp_dir().join(format!("voxray-test-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o711)).unwrap();
        Self(path.canonicalize().unwrap(), durable)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    async fn open(&self, hold: Hold) -> Result<Embedded> {
        self.open_with(hold, &[]).await
    }

    async fn open_with(&self, hold: Hold, extra: &[(&str, &str)]) -> Result<Embedded> {
        let small = [("shared_buffers", "16MB"), ("max_connections", "10")];
        let extra = small
            .iter()
            .chain(extra)
            .map(|(name, value)| (name.to_string(), value.to_string()));
        open(Options {
            data_dir: self.0.clone(),
            hold,
            durable: self.1,
            extra: extra.collect(),
        })
        .await
    }

    fn pid(&self) -> i32 {
        PidFile::read(&self.0.join("postgres")).unwrap().pid
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn number(embedded: &Embedded, statement: &'static str) -> Result<i64, sqlx::Error> {
    let mut connection = embedded.connect_options().connect().await?;
    sqlx::query_scalar(statement)
        .fetch_one(&mut connection)
        .await
}

async fn run(embedded: &Embedded, statement: &'static str) {
    let mut connection = embedded.connect_options().connect().await.unwrap();
    sqlx::query(statement)
        .execute(&mut connection)
        .await
        .unwrap();
}

/// What a `kill -9` of the whole process leaves: Postgres runs on, the lock is free.
fn kill_voxray(embedded: Embedded) {
    let Part::Owner(owner) = embedded.part else {
        panic!("a guest")
    };
    let Running::Unwatched(postmaster) = owner.running.into_inner().unwrap() else {
        panic!("watched")
    };
    postmaster.leave_running();
}

fn kill_postgres(pid: i32) {
    process::signal(pid, rustix::process::Signal::KILL);
}

async fn answer_again(embedded: &Embedded, statement: &'static str) -> i64 {
    for _ in 0..600 {
        if let Ok(answer) = number(embedded, statement).await {
            return answer;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("postgres did not come back");
}

#[tokio::test]
async fn it_is_made_started_stopped_and_started_again() {
    let folder = Folder::new();
    let embedded = folder.open(Hold::Server).await.unwrap();
    run(&embedded, "create table kept as select 7::bigint as n").await;
    let pid = folder.pid();
    embedded.stop().await.unwrap();
    assert!(!process::is_alive(pid));
    assert_eq!(PidFile::read(&folder.path().join("postgres")), None);

    let embedded = folder.open(Hold::Server).await.unwrap();
    assert_eq!(number(&embedded, "select n from kept").await.unwrap(), 7);
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn it_listens_on_no_port_and_in_nobody_elses_folder() {
    let folder = Folder::new();
    let embedded = folder.open(Hold::Server).await.unwrap();
    let listens =
        "select count(*) from pg_settings where name = 'listen_addresses' and setting <> ''";
    assert_eq!(number(&embedded, listens).await.unwrap(), 0);
    for private in ["postgres", "run"] {
        let mode = std::fs::metadata(folder.path().join(private))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700, "{private}");
    }
    assert!(
        std::fs::read_to_string(embedded.log_file())
            .unwrap()
            .contains("ready to accept connections")
    );
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn whole_pages_are_compressed_by_lz4_where_the_programs_have_it() {
    let folder = Folder::new();
    let embedded = folder.open(Hold::Server).await.unwrap();
    let best = "select count(*) from pg_settings
                 where name = 'wal_compression'
                   and setting = case when 'lz4' = any (enumvals) then 'lz4' when vartype = 'bool' then 'on' else 'pglz' end";
    assert_eq!(number(&embedded, best).await.unwrap(), 1);
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn a_killed_postmaster_comes_back_with_everything() {
    let folder = Folder::durable();
    let embedded = folder.open(Hold::Server).await.unwrap();
    embedded.watch();
    run(&embedded, "create table kept as select 7::bigint as n").await;
    for _ in 0..2 {
        let before = folder.pid();
        kill_postgres(before);
        while process::is_alive(before) {
            sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(answer_again(&embedded, "select n from kept").await, 7);
        assert_ne!(folder.pid(), before);
    }
    let pid = folder.pid();
    embedded.stop().await.unwrap();
    sleep(Duration::from_millis(300)).await;
    assert!(!process::is_alive(pid), "nobody starts it again after stop");
}

#[tokio::test]
async fn stop_while_it_is_being_started_again_stops_it() {
    let folder = Folder::new();
    let embedded = folder.open(Hold::Server).await.unwrap();
    embedded.watch();
    kill_postgres(folder.pid());
    sleep(Duration::from_millis(250)).await;
    embedded.stop().await.unwrap();
    folder
        .open(Hold::Server)
        .await
        .unwrap()
        .stop()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_postgres_that_outlived_us_is_reused() {
    let folder = Folder::new();
    kill_voxray(folder.open(Hold::Server).await.unwrap());
    let pid = folder.pid();
    let embedded = folder.open(Hold::Server).await.unwrap();
    assert_eq!(folder.pid(), pid);
    assert_eq!(number(&embedded, "select 1::bigint").await.unwrap(), 1);
    embedded.watch();
    embedded.stop().await.unwrap();
    assert!(!process::is_alive(pid));
}

#[tokio::test]
async fn a_postgres_that_outlived_us_with_other_settings_is_restarted() {
    let folder = Folder::new();
    kill_voxray(
        folder
            .open_with(Hold::Server, &[("work_mem", "5MB")])
            .await
            .unwrap(),
    );
    let pid = folder.pid();
    let embedded = folder.open(Hold::Server).await.unwrap();
    assert_ne!(folder.pid(), pid);
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn after_a_kill_of_both_it_recovers_though_a_zombie_is_left() {
    let folder = Folder::durable();
    let embedded = folder.open(Hold::Server).await.unwrap();
    run(&embedded, "create table kept as select 7::bigint as n").await;
    let pid = folder.pid();
    // Nobody waits for this child any more, so it stays a zombie for the life of this test.
    kill_voxray(embedded);
    kill_postgres(pid);
    let embedded = folder.open(Hold::Server).await.unwrap();
    assert_ne!(folder.pid(), pid);
    assert_eq!(number(&embedded, "select n from kept").await.unwrap(), 7);
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn an_old_pid_file_whose_number_is_a_strangers_is_no_obstacle() {
    let folder = Folder::new();
    let embedded = folder.open(Hold::Server).await.unwrap();
    let file = PidFile::path(&folder.path().join("postgres"));
    let text = std::fs::read_to_string(&file).unwrap();
    embedded.stop().await.unwrap();
    // A stranger of the same user as Postgres: only such a one can be in its way.
    let account = Account::for_cluster(&folder.path().join("postgres")).unwrap();
    let mut stranger = account
        .command(Path::new("/bin/sleep"))
        .arg("600")
        .spawn()
        .unwrap();
    let (_, rest) = text.split_once('\n').unwrap();
    std::fs::write(&file, format!("{}\n{rest}", stranger.id())).unwrap();
    account.take(&file, 0o600).unwrap();

    let embedded = folder.open(Hold::Server).await.unwrap();
    embedded.stop().await.unwrap();
    assert!(
        matches!(stranger.try_wait(), Ok(None)),
        "the stranger must not be touched"
    );
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[tokio::test]
async fn a_second_server_is_told_who_holds_the_directory() {
    let folder = Folder::new();
    let embedded = folder.open(Hold::Server).await.unwrap();
    let begun = Instant::now();
    let error = folder.open(Hold::Server).await.unwrap_err();
    assert!(matches!(error, EmbeddedError::InUse { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains(&format!("process {}", std::process::id())),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains(&*folder.path().to_string_lossy()),
        "{error}"
    );
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "a server is not waited for"
    );
    assert_eq!(number(&embedded, "select 1::bigint").await.unwrap(), 1);
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn a_command_shares_a_servers_postgres_and_leaves_it_running() {
    let folder = Folder::new();
    let server = folder.open(Hold::Server).await.unwrap();
    let pid = folder.pid();
    let guest = folder.open(Hold::Command).await.unwrap();
    guest.watch();
    assert_eq!(number(&guest, "select 1::bigint").await.unwrap(), 1);
    guest.stop().await.unwrap();
    assert_eq!(
        (
            folder.pid(),
            number(&server, "select 1::bigint").await.unwrap()
        ),
        (pid, 1)
    );
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_command_alone_starts_and_stops_it_while_a_server_waits() {
    let folder = Folder::new();
    let command = folder.open(Hold::Command).await.unwrap();
    let pid = folder.pid();
    let stopping = async {
        sleep(Duration::from_millis(900)).await;
        command.stop().await
    };
    let (server, stopped) = tokio::join!(folder.open(Hold::Server), stopping);
    stopped.unwrap();
    assert!(!process::is_alive(pid));
    server.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn a_command_does_not_stop_postgres_under_another() {
    let folder = Folder::new();
    let first = folder.open(Hold::Command).await.unwrap();
    let second = folder.open(Hold::Command).await.unwrap();
    let using = async {
        sleep(Duration::from_millis(300)).await;
        let answer = number(&second, "select 1::bigint").await;
        second.stop().await.unwrap();
        answer
    };
    let (stopped, answer) = tokio::join!(first.stop(), using);
    stopped.unwrap();
    assert_eq!(answer.unwrap(), 1);
}

#[tokio::test]
async fn many_commands_at_once_all_get_through() {
    let folder = Arc::new(Folder::new());
    let commands = (0..8).map(|_| {
        let folder = Arc::clone(&folder);
        tokio::spawn(async move {
            let command = folder.open(Hold::Command).await.unwrap();
            assert_eq!(number(&command, "select 1::bigint").await.unwrap(), 1);
            command.stop().await.unwrap();
        })
    });
    for command in commands.collect::<Vec<_>>() {
        command.await.unwrap();
    }
    assert_eq!(PidFile::read(&folder.path().join("postgres")), None);
}

#[tokio::test]
async fn a_folder_on_the_way_that_cannot_be_entered_is_named() {
    let folder = Folder::new();
    let closed = folder.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    let as_root = rustix::process::geteuid().is_root();
    let mode = if as_root { 0o700 } else { 0o000 };
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(mode)).unwrap();
    let data_dir = closed.join("inner/data");
    let error = open(Options {
        data_dir,
        hold: Hold::Server,
        durable: false,
        extra: Vec::new(),
    })
    .await
    .unwrap_err();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
    assert!(
        error
            .to_string()
            .contains(&format!("`{}", closed.display())),
        "{error}"
    );
    assert_eq!(
        as_root,
        matches!(&error, EmbeddedError::Unreachable { folder, .. } if *folder == closed),
        "{error}"
    );
    assert!(
        !closed.join("inner").exists(),
        "nothing is made where it is of no use"
    );
}

#[tokio::test]
async fn a_data_directory_with_a_long_name_works() {
    let folder = Folder::new();
    let data_dir = folder.path().join("long name, \"quoted\"/".repeat(6));
    let options = Options {
        data_dir,
        hold: Hold::Server,
        durable: false,
        extra: Vec::new(),
    };
    let embedded = open(options.clone()).await.unwrap();
    let sockets = embedded.connect_options().get_socket().unwrap().clone();
    assert!(
        sockets.starts_with(std::env::temp_dir()),
        "{}",
        sockets.display()
    );
    open(Options {
        hold: Hold::Command,
        ..options
    })
    .await
    .unwrap()
    .stop()
    .await
    .unwrap();
    embedded.stop().await.unwrap();
    std::fs::remove_dir_all(sockets).unwrap();
}

#[tokio::test]
async fn what_a_killed_initialisation_left_is_cleared() {
    let folder = Folder::new();
    let left = folder.path().join("postgres.new.1");
    std::fs::create_dir(&left).unwrap();
    std::fs::write(left.join("PG_VERSION"), "15\n").unwrap();
    folder
        .open(Hold::Server)
        .await
        .unwrap()
        .stop()
        .await
        .unwrap();
    assert!(!left.exists());
}

#[tokio::test]
async fn a_postgres_that_does_not_start_says_why_at_once() {
    let folder = Folder::new();
    let error = folder
        .open_with(Hold::Server, &[("work_mem", "nonsense")])
        .await
        .unwrap_err();
    assert!(error.to_string().contains("work_mem"), "{error}");
    folder
        .open(Hold::Server)
        .await
        .unwrap()
        .stop()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_cluster_of_a_version_that_is_not_here_is_not_touched() {
    let folder = Folder::new();
    let account = Account::for_cluster(&folder.path().join("postgres")).unwrap();
    let found = find::installed(&account, folder.path());
    assert!(!found.is_empty(), "these tests need PostgreSQL's programs");
    assert_eq!(find::choose(found, Some(9)), None);
}

#[tokio::test]
async fn forgotten_it_is_still_asked_to_stop() {
    let folder = Folder::new();
    drop(folder.open(Hold::Server).await.unwrap());
    folder
        .open(Hold::Server)
        .await
        .unwrap()
        .stop()
        .await
        .unwrap();
    let embedded = folder.open(Hold::Server).await.unwrap();
    embedded.watch();
    drop(embedded);
    folder
        .open(Hold::Server)
        .await
        .unwrap()
        .stop()
        .await
        .unwrap();
}
