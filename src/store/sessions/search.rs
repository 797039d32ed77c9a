//! Sessions by what happened in their turns: words that were said, answers that took long.
//!
//! A common word is in one of the next few sessions, a rare one in few sessions at all; no single plan is
//! quick for both. So the newest sessions that the other filters leave are walked first, turn by turn. Where
//! they do not fill the page, the index on the turns names every session, and these are put in order.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::Error;
use crate::domain::Result;
use crate::domain::analysis::IssueType;
use crate::domain::record::{Filter, Key};
use crate::domain::session::Status;
use crate::domain::words::Question;
use crate::store::failure::read;
use crate::store::scope::{ContentScope, Scope};

use super::list::{Place, Row, lines, plain, rows};

/// Sessions walked before the index is asked. Where so many do not fill a page, what is looked for is rare
/// enough for the index; texts cost more to look at than numbers.
const WALKED_FOR_WORDS: i64 = 300;
const WALKED_FOR_LATENCY: i64 = 1_000;

/// Turns with the words up to which the index answers, and sessions that the other filters leave up to which
/// the walk does: more of one are read only where there are more of the other, too.
pub const FOUND_MAX: i64 = 10_000;
const NARROW: i64 = 5_000;

/// What answers a question.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Index,
    /// The words are in many turns, but the other filters leave few sessions.
    Walk,
    /// Both are many.
    Long,
}

/// Whether the index on words can answer: it finds nothing for words that must not be there alone, nor for
/// a text without any word.
pub async fn is_searchable(scope: &Scope, question: &Question) -> Result<bool> {
    read(&scope.pool, || {
        sqlx::query_scalar!(
            r#"select querytree(websearch_to_tsquery('simple', $1)) not in ('', 'T') as "is_searchable!""#,
            question.as_str(),
        )
        .fetch_one(&scope.pool)
    })
    .await
}

/// That words are looked for only with proof that what was said may be seen.
pub(super) fn check(content: Option<&ContentScope>, filter: &Filter) -> Result<()> {
    if filter.words.is_some() && content.is_none() {
        let text = "words are looked for without the right to see them";
        return Err(Error::Internal(text.to_owned()));
    }
    Ok(())
}

/// Lines of sessions in which a turn has all the words, and a turn took so long. Where many sessions were
/// looked through and the page is still not full, also where to go on.
pub(super) async fn rows_of(
    scope: &Scope,
    content: Option<&ContentScope>,
    filter: &Filter,
    place: Place,
) -> Result<(Vec<Row>, Option<Key>)> {
    check(content, filter)?;
    if place.skip == 0 {
        let end = walk_end(scope, filter, place, walk_length(filter)).await?;
        let walked = walked(scope, filter, place, end).await?;
        let is_whole = end.is_none();
        if is_whole || walked.len() as i64 >= place.rows {
            return Ok((walked, None));
        }
    }
    let way = way(scope, filter, place).await?;
    let rows = match &filter.words {
        Some(_) if way == Way::Walk => walked(scope, filter, place, None).await?,
        Some(_) if way == Way::Long && place.skip == 0 => {
            return walked_far(scope, filter, place).await;
        }
        Some(question) => by_words(scope, question, filter, place).await?,
        None => by_latency(scope, filter, place).await?,
    };
    Ok((rows, None))
}

/// As many sessions as a page may look through, and the last of them where the page is not full. Only a
/// page by cursor can end so; one that skips rows comes with a total, which is refused before.
async fn walked_far(
    scope: &Scope,
    filter: &Filter,
    place: Place,
) -> Result<(Vec<Row>, Option<Key>)> {
    let end = walk_end(scope, filter, place, NARROW).await?;
    let rows = walked(scope, filter, place, end).await?;
    let is_full = rows.len() as i64 >= place.rows;
    Ok((rows, end.filter(|_| !is_full)))
}

/// How many sessions have the words, where the index is not the way to know; within, none if that would
/// take long.
pub(super) async fn counted(scope: &Scope, filter: &Filter) -> Result<Option<Option<i64>>> {
    if filter.words.is_none() {
        return Ok(None);
    }
    let all = Place {
        before: None,
        before_id: None,
        skip: 0,
        rows: NARROW,
    };
    Ok(match way(scope, filter, all).await? {
        Way::Index => None,
        Way::Walk => Some(Some(walked(scope, filter, all, None).await?.len() as i64)),
        Way::Long => Some(None),
    })
}

async fn way(scope: &Scope, filter: &Filter, place: Place) -> Result<Way> {
    let Some(question) = &filter.words else {
        return Ok(Way::Index);
    };
    let found = read(&scope.analytics, || {
        sqlx::query_scalar!(
            r#"select count(*) as "count!"
                 from (select
                         from turns t
                        where t.tenant_id = $1
                          and t.text is not null
                          and to_tsvector('simple', coalesce(t.words, t.text)) @@ websearch_to_tsquery('simple', $2)
                        limit $3) f"#,
            scope.tenant.0,
            question.as_str(),
            FOUND_MAX + 1,
        )
        .fetch_one(&scope.analytics)
    })
    .await?;
    if found <= FOUND_MAX {
        return Ok(Way::Index);
    }
    let beyond = Place {
        skip: NARROW,
        rows: 1,
        ..place
    };
    let is_narrow = plain(scope, filter, beyond).await?.is_empty();
    Ok(if is_narrow { Way::Walk } else { Way::Long })
}

/// The last session to be walked; none if that would be all there are.
async fn walk_end(
    scope: &Scope,
    filter: &Filter,
    place: Place,
    walked: i64,
) -> Result<Option<Key>> {
    let last = Place {
        skip: walked,
        rows: 1,
        ..place
    };
    Ok(plain(scope, filter, last).await?.first().map(Row::key))
}

fn walk_length(filter: &Filter) -> i64 {
    match filter.words {
        Some(_) => WALKED_FOR_WORDS,
        None => WALKED_FOR_LATENCY,
    }
}

/// Sessions down to the end of the walk, newest first, each asked for its turns. The expressions fit no
/// index but that of a session's turns, and `offset 0` keeps each question one of its own: so the walk
/// stops as soon as the page is full, whatever the statistics say.
async fn walked(
    scope: &Scope,
    filter: &Filter,
    place: Place,
    end: Option<Key>,
) -> Result<Vec<Row>> {
    let (end_at, end_id) = end.map_or((None, None), |(at, id)| (Some(at), Some(id.0)));
    rows!(
        scope,
        filter,
        place,
        "sessions s",
        "and ($18::text is null
              or exists (select from session_tags g where g.tenant_id = (select $1::uuid) and g.session_id = s.id and g.tag = $18))
         and ($19::timestamptz is null or (s.started_at, s.id) >= ($19, $20::uuid))
         and ($21::text is null
              or exists (select from turns t
                          where t.tenant_id = s.tenant_id and t.session_id = s.id
                            and to_tsvector('simple', coalesce(t.words, t.text) || '') @@ websearch_to_tsquery('simple', $21)
                         offset 0))
         and ($22::float8 is null
              or exists (select from turns t
                          where t.tenant_id = s.tenant_id and t.session_id = s.id
                            and t.answers_user and not t.cancelled and t.latency_ms + 0 >= $22
                         offset 0))
         order by s.started_at desc, s.id desc limit $14 offset $15",
        filter.tag.as_deref(),
        end_at as Option<DateTime<Utc>>,
        end_id as Option<Uuid>,
        filter.words.as_ref().map(Question::as_str),
        min_latency_ms(filter)
    )
    .await
}

/// All sessions that the index on words names, put in order. Each is fetched by its key, `offset 0`: it
/// costs what it finds, and never a look at all of a tenant's sessions.
async fn by_words(
    scope: &Scope,
    question: &Question,
    filter: &Filter,
    place: Place,
) -> Result<Vec<Row>> {
    rows!(
        scope,
        filter,
        place,
        "(select distinct t.tenant_id, t.session_id
            from turns t
           where t.tenant_id = $1
             and t.text is not null
             and to_tsvector('simple', coalesce(t.words, t.text)) @@ websearch_to_tsquery('simple', $18)) f
         cross join lateral (select * from sessions o where o.tenant_id = f.tenant_id and o.id = f.session_id offset 0) s",
        "and ($19::text is null
              or exists (select from session_tags g where g.tenant_id = (select $1::uuid) and g.session_id = s.id and g.tag = $19))
         and ($20::float8 is null
              or exists (select from turns t
                          where t.tenant_id = s.tenant_id and t.session_id = s.id
                            and t.answers_user and not t.cancelled and t.latency_ms + 0 >= $20
                         offset 0))
         order by s.started_at desc, s.id desc limit $14 offset $15",
        question.as_str(),
        filter.tag.as_deref(),
        min_latency_ms(filter)
    )
    .await
}

/// All sessions that the index on answers names, put in order.
async fn by_latency(scope: &Scope, filter: &Filter, place: Place) -> Result<Vec<Row>> {
    rows!(
        scope,
        filter,
        place,
        "(select distinct t.tenant_id, t.session_id
            from turns t
           where t.tenant_id = $1
             and t.answers_user and not t.cancelled and t.latency_ms > 0
             and t.latency_ms >= $18::float8) f
         cross join lateral (select * from sessions o where o.tenant_id = f.tenant_id and o.id = f.session_id offset 0) s",
        "and ($19::text is null
              or exists (select from session_tags g where g.tenant_id = (select $1::uuid) and g.session_id = s.id and g.tag = $19))
         order by s.started_at desc, s.id desc limit $14 offset $15",
        min_latency_ms(filter).unwrap_or_default(),
        filter.tag.as_deref()
    )
    .await
}

/// Where it is asked for. At least 1, so that a stage that did not take place is never counted.
pub(super) fn min_latency_ms(filter: &Filter) -> Option<f64> {
    filter.min_latency_ms.map(|ms| ms as f64)
}
