//! `GET /api/v1/audit-log`

use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SecondsFormat};
use serde::Serialize;

use crate::api::page;
use crate::app::App;
use crate::auth::Admin;
use crate::domain::audit::{Action, Entry, Filter, Key};
use crate::domain::page::Start;
use crate::problem::Json;
use crate::problem::Params;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::audit;

pub async fn handle(
    State(_): State<App>,
    admin: Admin,
    uri: Uri,
    query: Query,
) -> Result<Response, Problem> {
    let mut params = query.params();
    let filter = filter(&mut params);
    let limit = page::cursor::limit(&mut params);
    let start = params
        .parse("cursor", |text| decode(text, &filter))
        .map_or(Start::Beginning, Start::After);
    params.finish()?;
    let slice = audit::page(&admin.scope, &filter, &start, limit).await?;
    let last = slice.items.last().filter(|_| slice.more);
    let next_cursor = last.map(|entry| {
        page::cursor::encode_place(&(entry.at.timestamp_micros(), entry.seq), &filter)
    });
    let link = page::link_to_next(&uri, "cursor", next_cursor.as_deref());
    let body = Json(List {
        data: slice.items.into_iter().map(Item::from).collect(),
        next_cursor,
        has_more: slice.more,
    });
    Ok(match link {
        Some(link) => ([link], body).into_response(),
        None => body.into_response(),
    })
}

fn decode(text: &str, filter: &Filter) -> Result<Key, String> {
    let (micros, seq): (i64, i64) = page::cursor::decode_place(text, filter)?;
    let at = DateTime::from_timestamp_micros(micros).ok_or("is not a cursor of this list")?;
    Ok((at, seq))
}

fn filter(params: &mut Params) -> Filter {
    let action = params.choice("action", &Action::ALL, Action::as_str);
    let filter = Filter {
        action: action.map(Action::as_str),
        object_id: params.text("object_id"),
        actor: params.text("actor"),
        after: params.time("after"),
        before: params.time("before"),
    };
    if let (Some(after), Some(before)) = (filter.after, filter.before)
        && after >= before
    {
        params.fault("after", "must be before `before`");
    }
    filter
}

#[derive(Serialize)]
struct List {
    data: Vec<Item>,
    next_cursor: Option<String>,
    has_more: bool,
}

#[derive(Serialize)]
struct Item {
    seq: i64,
    /// To the microsecond, since the hash is made of it.
    at: String,
    actor: String,
    action: String,
    object_type: String,
    object_id: String,
    fields: Vec<String>,
    previous_hash: String,
    hash: String,
}

impl From<Entry> for Item {
    fn from(entry: Entry) -> Self {
        Self {
            seq: entry.seq,
            at: entry.at.to_rfc3339_opts(SecondsFormat::Micros, true),
            actor: entry.actor,
            action: entry.action,
            object_type: entry.object_type,
            object_id: entry.object_id,
            fields: entry.fields,
            previous_hash: hex::encode(&entry.previous_hash),
            hash: hex::encode(&entry.hash),
        }
    }
}
