//! Counts over the state of a tenant's calls, by plain loops, and compares answers with them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc};
use serde_json::{Value, json};
use sqlx::{Connection, FromRow, PgConnection};
use uuid::Uuid;

use crate::support::Client;

#[derive(FromRow)]
struct Session {
    id: Uuid,
    started_at: DateTime<Utc>,
    status: String,
    duration_ms: Option<i64>,
    agent_key: Option<String>,
    channel: Option<String>,
    campaign: Option<String>,
    workflow_id: Option<String>,
    workflow_slug: Option<String>,
    workflow_name: Option<String>,
    stt_provider: Option<String>,
    llm_provider: Option<String>,
    tts_provider: Option<String>,
}

#[derive(FromRow)]
struct Turn {
    session_id: Uuid,
    speaker: String,
    cancelled: bool,
    stt_ms: Option<f64>,
    llm_ms: Option<f64>,
    tts_ms: Option<f64>,
    extra: String,
}

#[derive(FromRow)]
struct Error {
    session_id: Uuid,
    id: String,
    at: DateTime<Utc>,
    service: Option<String>,
    level: String,
}

pub struct State {
    sessions: Vec<Session>,
    turns: Vec<Turn>,
    errors: Vec<Error>,
}

impl State {
    pub async fn load(url: &str, tenant: Uuid) -> Self {
        let mut connection = PgConnection::connect(url).await.expect("a database");
        let c = &mut connection;
        Self {
            sessions: sqlx::query_as("select * from sessions where tenant_id = $1")
                .bind(tenant)
                .fetch_all(&mut *c)
                .await
                .expect("sessions"),
            turns: sqlx::query_as("select * from turns where tenant_id = $1")
                .bind(tenant)
                .fetch_all(&mut *c)
                .await
                .expect("turns"),
            errors: sqlx::query_as("select * from errors where tenant_id = $1")
                .bind(tenant)
                .fetch_all(&mut *c)
                .await
                .expect("errors"),
        }
    }
}

#[derive(Debug)]
pub struct Question {
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    pub agent_key: Option<String>,
    pub workflow: Option<String>,
    pub channel: Option<String>,
    pub campaign: Option<String>,
}

impl Question {
    fn query(&self) -> String {
        let time = |time: DateTime<Utc>| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let mut query = format!(
            "started_after={}&started_before={}",
            time(self.from),
            time(self.to)
        );
        for (name, value) in [
            ("agent_key", &self.agent_key),
            ("workflow", &self.workflow),
            ("channel", &self.channel),
            ("campaign", &self.campaign),
        ] {
            if let Some(value) = value {
                query += &format!("&{name}={value}");
            }
        }
        query
    }

    fn fits(&self, s: &Session) -> bool {
        let same = |asked: &Option<String>, is: &Option<String>| asked.is_none() || asked == is;
        (self.from..self.to).contains(&s.started_at)
            && same(&self.agent_key, &s.agent_key)
            && same(&self.channel, &s.channel)
            && same(&self.campaign, &s.campaign)
            && (same(&self.workflow, &s.workflow_id) || same(&self.workflow, &s.workflow_slug))
    }
}

fn tenth(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn having(calls: &[&Session], status: &str) -> usize {
    calls.iter().filter(|call| call.status == status).count()
}

fn rate(calls: &[&Session]) -> Value {
    let (done, lost) = (having(calls, "completed"), having(calls, "failed"));
    if done + lost == 0 {
        return Value::Null;
    }
    json!(tenth(done as f64 * 100.0 / (done + lost) as f64))
}

fn mean_seconds(calls: &[&Session]) -> Value {
    let lengths: Vec<i64> = calls.iter().filter_map(|call| call.duration_ms).collect();
    if lengths.is_empty() {
        return Value::Null;
    }
    json!(tenth(
        lengths.iter().sum::<i64>() as f64 / 1000.0 / lengths.len() as f64
    ))
}

pub async fn compare(reader: &Client, state: &State, question: &Question) {
    let calls: Vec<&Session> = state.sessions.iter().filter(|s| question.fits(s)).collect();
    let ask = async |path: &str| {
        let path = format!("/api/v1/analytics/{path}{}", question.query());
        let reader = reader.header("cache-control", "no-cache");
        reader.get(&path).await.status(200).json()
    };
    let summary = ask("summary?").await;
    for (name, expected) in [
        ("total_calls", json!(calls.len())),
        ("completed_calls", json!(having(&calls, "completed"))),
        ("failed_calls", json!(having(&calls, "failed"))),
        ("success_rate", rate(&calls)),
        ("avg_duration_seconds", mean_seconds(&calls)),
    ] {
        assert_eq!(summary[name], expected, "{name} of {question:?}");
    }
    for interval in ["hour", "day", "week"] {
        let said = ask(&format!("call-volume?interval={interval}&")).await;
        let expected = volume(&calls, question, interval);
        assert_eq!(
            said,
            json!({"interval": interval, "data": expected}),
            "{question:?}"
        );
    }
    let said = ask("workflow-stats?limit=50&").await;
    assert_eq!(said, json!(workflows(&calls)), "{question:?}");
    providers(&ask("provider-latency?").await, state, &calls, question);
    let said = ask("errors?limit=200&").await;
    let expected = errors(state, &calls);
    assert_eq!(said["total"], expected.len(), "{question:?}");
    let said: Vec<Value> = said["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| json!([item["id"], item["service"], item["level"]]))
        .collect();
    assert_eq!(said, expected[..expected.len().min(200)], "{question:?}");
}

fn bucket(time: DateTime<Utc>, interval: &str) -> DateTime<Utc> {
    let day = time.date_naive();
    let day = match interval {
        "week" => day - TimeDelta::days(i64::from(day.weekday().num_days_from_monday())),
        _ => day,
    };
    let hour = if interval == "hour" { time.hour() } else { 0 };
    day.and_hms_opt(hour, 0, 0).expect("a time").and_utc()
}

fn volume(calls: &[&Session], question: &Question, interval: &str) -> Vec<Value> {
    let mut buckets = Vec::new();
    let mut at = bucket(question.from, interval);
    while at < question.to {
        let inside: Vec<&Session> = calls
            .iter()
            .copied()
            .filter(|call| bucket(call.started_at, interval) == at)
            .collect();
        let of = |status| having(&inside, status);
        buckets.push(json!({"timestamp": at, "total": inside.len(), "completed": of("completed"), "failed": of("failed"),
            "declined": of("declined"), "missed": of("missed")}));
        at = bucket(
            at + TimeDelta::hours(match interval {
                "hour" => 1,
                "day" => 24,
                _ => 168,
            }),
            interval,
        );
    }
    buckets
}

fn workflows(calls: &[&Session]) -> Vec<Value> {
    let mut groups: BTreeMap<(u8, &String), Vec<&Session>> = BTreeMap::new();
    for call in calls {
        let ids = [&call.workflow_id, &call.workflow_slug, &call.workflow_name];
        let first = (0..)
            .zip(ids)
            .find_map(|(rank, id)| Some((rank, id.as_ref()?)));
        if let Some(first) = first {
            groups.entry(first).or_default().push(call);
        }
    }
    let mut found = Vec::new();
    for ((rank, id), calls) in groups {
        let last = |text: fn(&Session) -> &Option<String>| {
            let used = calls
                .iter()
                .filter_map(|call| Some((call.started_at, text(call).as_ref()?)));
            used.max().map(|(_, text)| text)
        };
        let name = last(|call| &call.workflow_name);
        let value = json!({"workflow_id": (rank == 0).then_some(id), "workflow_name": name,
            "workflow_slug": last(|call| &call.workflow_slug), "total_calls": calls.len(),
            "completed_calls": having(&calls, "completed"), "failed_calls": having(&calls, "failed"),
            "declined_calls": having(&calls, "declined"), "missed_calls": having(&calls, "missed"),
            "success_rate": rate(&calls), "avg_duration_seconds": mean_seconds(&calls)});
        let order = (
            std::cmp::Reverse(calls.len()),
            name.is_none(),
            name,
            rank,
            id,
        );
        found.push((order, value));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found.into_iter().map(|(_, value)| value).collect()
}

/// By type in order, then by name, the nameless last.
type Place = (u8, bool, String);
/// Calls, and milliseconds.
type Measured = (BTreeSet<Uuid>, Vec<f64>);

fn providers(said: &Value, state: &State, calls: &[&Session], question: &Question) {
    let by_id: BTreeMap<Uuid, &Session> = calls.iter().map(|call| (call.id, *call)).collect();
    let mut measured: BTreeMap<Place, Measured> = BTreeMap::new();
    for turn in state
        .turns
        .iter()
        .filter(|t| t.speaker == "agent" && !t.cancelled)
    {
        let Some(call) = by_id.get(&turn.session_id) else {
            continue;
        };
        let extra: Value = serde_json::from_str(&turn.extra).expect("JSON");
        for (rank, (stage, ms, usual)) in (0..).zip([
            ("stt", turn.stt_ms, &call.stt_provider),
            ("llm", turn.llm_ms, &call.llm_provider),
            ("tts", turn.tts_ms, &call.tts_provider),
        ]) {
            let own = extra["providers"][stage].as_str().map(str::to_owned);
            let name = own.or(usual.clone());
            if let Some(ms) = ms.filter(|ms| *ms > 0.0) {
                let key = (rank, name.is_none(), name.unwrap_or_default());
                let (ids, all) = measured.entry(key).or_default();
                ids.insert(call.id);
                all.push(ms);
            }
        }
    }
    assert_eq!(
        said.as_array().map(Vec::len),
        Some(measured.len()),
        "{said} {question:?}"
    );
    for (said, ((rank, _, name), (ids, mut all))) in
        said.as_array().into_iter().flatten().zip(measured)
    {
        all.sort_by(f64::total_cmp);
        assert_eq!(
            said["provider_type"],
            ["stt", "llm", "tts"][usize::from(rank)]
        );
        assert_eq!(said["provider_name"].as_str().unwrap_or_default(), name);
        assert_eq!(
            (&said["call_count"], &said["measurements"]),
            (&json!(ids.len()), &json!(all.len())),
            "{question:?}"
        );
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        for (field, exact, off) in [
            ("avg", mean, 0.0),
            ("p50", 0.5, 0.01),
            ("p95", 0.95, 0.01),
            ("p99", 0.99, 0.01),
        ] {
            let number = said[format!("{field}_latency_ms")]
                .as_f64()
                .expect("a number");
            let exact = if field == "avg" {
                exact
            } else {
                all[(exact * all.len() as f64).ceil() as usize - 1]
            };
            assert!(
                (number - exact).abs() <= exact * off + 0.051,
                "{field} of {name}: {number} for {exact}, {question:?}"
            );
        }
    }
}

fn errors(state: &State, calls: &[&Session]) -> Vec<Value> {
    let inside: BTreeSet<Uuid> = calls.iter().map(|call| call.id).collect();
    let mut found: Vec<&Error> = state
        .errors
        .iter()
        .filter(|e| inside.contains(&e.session_id))
        .collect();
    found.sort_by_key(|e| std::cmp::Reverse((e.at, e.session_id, &e.id)));
    let place = |error: &Error| {
        let earlier = |other: &&Error| (other.at, &other.id) < (error.at, &error.id);
        let of_call = state
            .errors
            .iter()
            .filter(|other| other.session_id == error.session_id);
        of_call.filter(earlier).count()
    };
    found
        .into_iter()
        .map(|e| json!([format!("{}-{}", e.session_id, place(e)), e.service, e.level]))
        .collect()
}
