//! The words of turns that were written before words were kept: read in the background, a few sessions at a time.
//! Any number of processes share it.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::Result;
use crate::domain::words;
use crate::store::columns::column;
use crate::store::failure::failure;
use crate::store::scope::Store;

/// Sessions that are looked at in one round, and turns that are in memory at once.
const SESSIONS: i64 = 20;
const TURNS: i64 = 50;

type Key = (Uuid, Uuid);

/// Reads the words of the next few sessions. Answers whether there may be more.
pub async fn round(store: &Store) -> Result<bool> {
    let mut transaction = store.analytics.begin().await.map_err(failure)?;
    let keys = take(&mut transaction).await?;
    for key in &keys {
        read_turns(&mut transaction, *key).await?;
    }
    done(&mut transaction, &keys).await?;
    transaction.commit().await.map_err(failure)?;
    Ok(keys.len() as i64 == SESSIONS)
}

/// Sessions that nobody writes to, who else would lock them.
async fn take(connection: &mut PgConnection) -> Result<Vec<Key>> {
    let rows = sqlx::query!(
        "select w.tenant_id, w.session_id
           from wordless_sessions w
           join sessions s on s.tenant_id = w.tenant_id and s.id = w.session_id
          order by w.tenant_id, w.session_id
          limit $1
            for update of w skip locked
            for no key update of s skip locked",
        SESSIONS,
    )
    .fetch_all(connection)
    .await
    .map_err(failure)?;
    let keys = rows.into_iter().map(|row| (row.tenant_id, row.session_id));
    Ok(keys.collect())
}

async fn read_turns(connection: &mut PgConnection, key: Key) -> Result<()> {
    let mut after: Option<i32> = None;
    loop {
        let turns = sqlx::query!(
            r#"select index, text as "text!"
                 from turns
                where tenant_id = $1 and session_id = $2 and text is not null
                  and ($3::integer is null or index > $3)
                order by index
                limit $4"#,
            key.0,
            key.1,
            after,
            TURNS,
        )
        .fetch_all(&mut *connection)
        .await
        .map_err(failure)?;
        let is_last = (turns.len() as i64) < TURNS;
        after = turns.last().map(|turn| turn.index);
        let read: Vec<_> = turns
            .iter()
            .filter_map(|turn| Some((turn.index, words::beside(&turn.text)?)))
            .collect();
        write(connection, key, &read).await?;
        if is_last {
            return Ok(());
        }
    }
}

async fn write(connection: &mut PgConnection, key: Key, read: &[(i32, String)]) -> Result<()> {
    if read.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "update turns t
            set words = k.words
           from unnest($3::integer[], $4::text[]) as k (index, words)
          where t.tenant_id = $1 and t.session_id = $2 and t.index = k.index",
        key.0,
        key.1,
        &column(read, |(index, _)| *index),
        &column(read, |(_, words)| words.clone()),
    )
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}

async fn done(connection: &mut PgConnection, keys: &[Key]) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "delete from wordless_sessions w
          using unnest($1::uuid[], $2::uuid[]) as k (tenant_id, session_id)
          where w.tenant_id = k.tenant_id and w.session_id = k.session_id",
        &column(keys, |key| key.0),
        &column(keys, |key| key.1),
    )
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}
