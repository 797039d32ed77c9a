//! Being told that there is something new, over one connection a process. What is told only wakes up:
//! who listens also looks by itself from time to time.

use sqlx::postgres::{PgListener, PgPoolOptions};
use uuid::Uuid;

use super::{NUMBERED, WRITTEN};
use crate::domain::Result;
use crate::domain::ids::TenantId;
use crate::store::failure::failure;
use crate::store::scope::Store;

/// What a process hears.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// Something waits to be numbered.
    Written,
    /// These tenants have new events.
    Numbered(Vec<TenantId>),
    /// The connection was lost meanwhile, and is back: anything may have happened.
    Lost,
}

pub struct Listener(PgListener);

impl Listener {
    pub async fn start(store: &Store) -> Result<Self> {
        let options = store
            .options
            .clone()
            .application_name("voxray live listener");
        // A pool of its own: a connection that listens serves nothing else.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .connect_lazy_with(options);
        let mut listener = PgListener::connect_with(&pool).await.map_err(failure)?;
        listener
            .listen_all([WRITTEN, NUMBERED])
            .await
            .map_err(failure)?;
        Ok(Self(listener))
    }

    pub async fn next(&mut self) -> Result<Heard> {
        let Some(told) = self.0.try_recv().await.map_err(failure)? else {
            return Ok(Heard::Lost);
        };
        Ok(if told.channel() == WRITTEN {
            Heard::Written
        } else {
            Heard::Numbered(tenants(told.payload()))
        })
    }
}

fn tenants(payload: &str) -> Vec<TenantId> {
    let ids = payload.split(',').filter_map(|id| Uuid::try_parse(id).ok());
    ids.map(TenantId).collect()
}

/// Tells the sequencer, wherever it is, that there is something to number.
pub async fn wake(store: &Store) -> Result<()> {
    sqlx::query!(r#"select 1 as "one!" from pg_notify($1, '')"#, WRITTEN)
        .fetch_one(&store.pool)
        .await
        .map_err(failure)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_tenant_is_passed_over() {
        let one = Uuid::from_u128(1);
        let payload = format!("{},x,", one.simple());
        assert_eq!(tenants(&payload), [TenantId(one)]);
    }
}
