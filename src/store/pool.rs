//! Connections, lent without asking Postgres anything when they come back.
//!
//! sqlx's pool pings a connection whenever it is given back: a second round trip for every statement. Here a
//! connection whose statement ended as it should goes straight to the next who asks; one whose asker went away
//! half-way, or whose statement failed, goes back through sqlx's pool, which looks at it first.

use std::fmt;
use std::io;
use std::iter;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{
    PgConnectOptions, PgPoolOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo,
};
use sqlx::{
    Connection, Describe, Either, Error, Execute, Executor, PgConnection, PgPool, Postgres, SqlStr,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// How long somebody waits for a connection before the store counts as unavailable.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// Longer than a statement may go on that nobody waits for any more: a connection that says nothing for so long is lost,
/// though nothing has closed it. It gives its place to another one.
const LOOK_TIMEOUT: Duration = Duration::from_secs(40);
/// The same of one on which nothing runs.
const IDLE_LOOK_TIMEOUT: Duration = Duration::from_secs(3);
/// What runs when all is to end has so long.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// After so long a connection goes through sqlx's pool once, which ends those that are too old.
const HELD_FOR: Duration = Duration::from_secs(60);

/// A pool of connections. Cheap to clone.
///
/// As an executor it gathers what a statement answers before it gives any of it: for answers of many rows
/// [`Pool::acquire`] a connection and fetch on that.
#[derive(Clone)]
pub(in crate::store) struct Pool(Arc<Inner>);

struct Inner {
    beneath: PgPool,
    /// As many as there may be connections; whoever uses one has a permit.
    permits: Arc<Semaphore>,
    /// Known to be ready for the next statement.
    ready: Mutex<Vec<Held>>,
}

struct Held {
    connection: PoolConnection<Postgres>,
    since: Instant,
}

impl Pool {
    /// Connects when first used, and again whenever the database comes back.
    pub fn lazy(options: PgConnectOptions, size: u32) -> Self {
        let beneath = PgPoolOptions::new()
            .max_connections(size)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
            .after_release(|connection, _| {
                Box::pin(async move { look(connection, LOOK_TIMEOUT).await.map(|()| true) })
            })
            .connect_lazy_with(options);
        Self(Arc::new(Inner {
            beneath,
            permits: Arc::new(Semaphore::new(size as usize)),
            ready: Mutex::default(),
        }))
    }

    /// A connection of one's own, for several statements or an answer of many rows.
    pub async fn acquire(&self) -> Result<Lease, Error> {
        let (held, permit) = self.take().await?;
        Ok(Lease {
            held,
            home: self.clone(),
            _permit: permit,
        })
    }

    /// Begins a transaction, which is undone unless it is committed.
    pub async fn begin(&self) -> Result<Transaction, Error> {
        let (held, permit) = self.take().await?;
        Ok(Transaction {
            begun: sqlx::Transaction::begin(held.connection, None).await?,
            _permit: permit,
        })
    }

    /// Closes every connection, after what runs on them has ended; those that are lost are left.
    pub async fn close(&self) {
        self.0.permits.close();
        self.0.ready().clear();
        let _ = timeout(CLOSE_TIMEOUT, self.0.beneath.close()).await;
    }

    /// Connections open.
    pub fn size(&self) -> u32 {
        self.0.beneath.size()
    }

    /// Of these, those that nobody uses.
    pub fn num_idle(&self) -> usize {
        self.0.beneath.num_idle() + self.0.ready().len()
    }

    /// Throws out the connections that died together, so that a retry does not meet the next of them.
    pub async fn sweep(&self) {
        let suspects = std::mem::take(&mut *self.0.ready());
        let suspects = suspects.into_iter().map(|held| held.connection);
        let mut alive = Vec::new();
        for mut connection in suspects.chain(iter::from_fn(|| self.0.beneath.try_acquire())) {
            if look(&mut connection, IDLE_LOOK_TIMEOUT).await.is_ok() {
                alive.push(connection);
            } else {
                drop(connection.detach());
            }
        }
    }

    /// A connection, and the right to use it. Dropped, it goes back through sqlx's pool.
    async fn take(&self) -> Result<(Held, OwnedSemaphorePermit), Error> {
        let permit = self.0.permits.clone().acquire_owned();
        let permit = timeout(ACQUIRE_TIMEOUT, permit).await;
        let permit = permit
            .map_err(|_| Error::PoolTimedOut)?
            .map_err(|_| Error::PoolClosed)?;
        let ready = self.0.ready().pop();
        let held = match ready.filter(|held| held.since.elapsed() < HELD_FOR) {
            Some(held) => held,
            None => Held {
                connection: self.0.beneath.acquire().await?,
                since: Instant::now(),
            },
        };
        Ok((held, permit))
    }

    /// Its last statement ended as it should.
    fn give_back(&self, held: Held) {
        if !self.0.beneath.is_closed() {
            self.0.ready().push(held);
        }
    }
}

/// Whether a connection still answers. Neither sqlx nor the system asks for how long: a peer that was lost without a word
/// would be waited for, and its place in the pool with it.
async fn look(connection: &mut PgConnection, limit: Duration) -> Result<(), Error> {
    let answered = timeout(limit, connection.ping()).await;
    answered.unwrap_or_else(|_| Err(Error::Io(io::ErrorKind::TimedOut.into())))
}

impl Inner {
    fn ready(&self) -> MutexGuard<'_, Vec<Held>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({})", self.size())
    }
}

impl<'p> Executor<'p> for &Pool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.clone();
        let gathered = async move {
            let (mut held, _permit) = pool.take().await?;
            let steps: Vec<_> = held.connection.fetch_many(query).try_collect().await?;
            pool.give_back(held);
            Ok::<_, Error>(stream::iter(steps).map(Ok))
        };
        stream::once(gathered).try_flatten().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.clone();
        Box::pin(async move {
            let (mut held, _permit) = pool.take().await?;
            let row = held.connection.fetch_optional(query).await?;
            pool.give_back(held);
            Ok(row)
        })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        Box::pin(async move {
            let (mut held, _permit) = pool.take().await?;
            let statement = held.connection.prepare_with(sql, parameters).await?;
            pool.give_back(held);
            Ok(statement)
        })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, Error>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        Box::pin(async move {
            let (mut held, _permit) = pool.take().await?;
            let described = held.connection.describe(sql).await?;
            pool.give_back(held);
            Ok(described)
        })
    }
}

/// A connection in use. Dropped, it is looked at before somebody else gets it.
pub(in crate::store) struct Lease {
    held: Held,
    home: Pool,
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    /// Gives it back at once: its last statement ended as it should.
    pub fn done(self) {
        self.home.give_back(self.held);
    }
}

impl Deref for Lease {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.held.connection
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.held.connection
    }
}

/// A transaction on a connection of its own.
pub(in crate::store) struct Transaction {
    begun: sqlx::Transaction<'static, Postgres>,
    _permit: OwnedSemaphorePermit,
}

impl Transaction {
    pub async fn commit(self) -> Result<(), Error> {
        self.begun.commit().await
    }
}

impl Deref for Transaction {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.begun
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.begun
    }
}
