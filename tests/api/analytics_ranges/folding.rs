//! So many campaigns that rollups do not tell them apart: numbers stay right, and the rollups few.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use voxray::store::{Scope, rollups};

use super::recount::{self, Question, State};
use crate::support::{Client, TestServer};

/// Combinations that an hour or a day may have in rollups.
const SETS_MAX: i64 = 500;

fn call(n: usize, at: DateTime<Utc>) -> Value {
    let statuses = ["completed", "failed", "missed"];
    json!({
        "session": {
            "sessionId": format!("call-{at}-{n}"), "agentId": (["ann", "bob"][n % 2]), "campaign": format!("c{n}"),
            "workflow": {"slug": (["book", "order"][n / 2 % 2]), "name": "Work"}, "channel": "web",
            "status": statuses[n % 3], "startedAt": at, "endedAt": at + TimeDelta::seconds(n as i64 % 90)
        },
        "turns": [
            {"speaker": "user", "startMs": 0, "endMs": 500},
            {"speaker": "agent", "startMs": 900, "endMs": 1500, "llmMs": 100 + n % 50, "providers": {"llm": "openai"}}
        ]
    })
}

fn question(from: &str, to: &str, campaign: Option<&str>, agent_key: Option<&str>) -> Question {
    Question {
        from: from.parse().expect("a time"),
        to: to.parse().expect("a time"),
        agent_key: agent_key.map(str::to_owned),
        workflow: None,
        channel: None,
        campaign: campaign.map(str::to_owned),
    }
}

/// The most combinations that an hour has, and a day.
async fn most_sets(server: &TestServer) -> (i64, i64) {
    let mut connection = server.connect().await;
    let most = "select (select max(n) from (select count(*) as n from rollup_hour group by tenant_id, hour) h),
                       (select max(n) from (select count(*) as n from rollup_day group by tenant_id, day) d)";
    sqlx::query_as(most)
        .fetch_one(&mut connection)
        .await
        .expect("counts")
}

async fn send(ingestor: &Client, calls: &[Value]) {
    for chunk in calls.chunks(300) {
        let body = json!({ "calls": chunk });
        ingestor.post("/v1/ingest/calls", &body).await.status(200);
    }
}

async fn drain(server: &TestServer) {
    let drained = rollups::drain(&server.app.store, server.clock.now()).await;
    assert!(drained.expect("a store"), "nobody else keeps these rollups");
}

#[tokio::test]
async fn six_hundred_campaigns_are_told_right_and_kept_few() {
    let server = TestServer::without_work().await;
    let acme = server.tenant("acme").await;
    let scope = Scope::for_worker(&server.app.store, acme.id);
    let (ingestor, reader) = (acme.ingestor().await, acme.transcripts().await);
    let time = |text: &str| text.parse::<DateTime<Utc>>().expect("a time");
    // An hour with too many, a day whose hours are small but together too many, and an ordinary one.
    let crowded = (0..600).map(|n| call(n, time("2025-06-02T08:30:00Z")));
    let spread = (0..600).map(|n| {
        call(
            n,
            time("2025-06-04T00:10:00Z") + TimeDelta::hours(n as i64 % 24),
        )
    });
    let ordinary = (0..40).map(|n| call(n, time("2025-06-06T09:10:00Z")));
    let calls: Vec<Value> = crowded.chain(spread).chain(ordinary).collect();
    send(&ingestor, &calls).await;
    drain(&server).await;
    assert_eq!(rollups::verify(&scope).await.expect("a store"), []);
    let (of_hour, of_day) = most_sets(&server).await;
    assert!(
        of_hour <= SETS_MAX + 1 && of_day <= SETS_MAX + 1,
        "{of_hour} {of_day}"
    );
    let ask = async || {
        let state = State::load(&server.database_url(), acme.id.0).await;
        for (from, to) in [
            ("2025-06-01T00:00:00Z", "2025-06-08T00:00:00Z"),
            ("2025-06-02T08:15:00Z", "2025-06-04T12:20:00Z"),
            ("2025-06-04T03:00:00Z", "2025-06-06T00:00:00Z"),
        ] {
            for (campaign, agent) in [
                (None, None),
                (Some("c7"), None),
                (Some("c599"), None),
                (Some("c7"), Some("bob")),
                (None, Some("ann")),
                (Some("nobody"), None),
            ] {
                recount::compare(&reader, &state, &question(from, to, campaign, agent)).await;
            }
        }
    };
    ask().await;
    // Something changes in the crowd: another campaign, another hour, and one that is deleted.
    let mut changed = call(7, time("2025-06-02T08:30:00Z"));
    changed["session"]["campaign"] = json!("c8");
    let mut moved = call(9, time("2025-06-02T08:30:00Z"));
    moved["session"]["startedAt"] = json!("2025-06-04T05:30:00Z");
    moved["session"]["endedAt"] = json!("2025-06-04T05:31:00Z");
    send(&ingestor, &[changed, moved]).await;
    let path =
        format!("/api/v1/sessions/call-{}-11", time("2025-06-02T08:30:00Z")).replace(' ', "%20");
    acme.client("admin").await.delete(&path).await.status(204);
    ask().await;
    drain(&server).await;
    assert_eq!(rollups::verify(&scope).await.expect("a store"), []);
    ask().await;
    // Totals of lists are counted where rollups do not know them.
    let list = async |query: &str| {
        let list = reader.get(&format!("/api/v1/conversations?{query}")).await;
        list.status(200).json()["data"].as_array().map(Vec::len)
    };
    assert_eq!(list("campaign=c8&limit=100").await, Some(4));
}

#[tokio::test]
async fn a_long_range_of_too_many_campaigns_is_refused() {
    let server = TestServer::without_work().await;
    let acme = server.tenant("acme").await;
    let (ingestor, reader) = (acme.ingestor().await, acme.reader().await);
    let at = "2025-06-02T08:30:00Z".parse().expect("a time");
    let calls: Vec<Value> = (0..600).map(|n| call(n, at)).collect();
    send(&ingestor, &calls).await;
    let of = |path: &str, days: i64, filter: &str| {
        let to = at + TimeDelta::days(5);
        let from = to - TimeDelta::days(days);
        let time = |time: DateTime<Utc>| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let range = format!("started_after={}&started_before={}", time(from), time(to));
        format!("/api/v1/analytics/{path}?{range}{filter}")
    };
    let long = of("summary", 60, "&campaign=c7");
    // Until it is summed up it is read call by call.
    assert_eq!(reader.get(&long).await.status(200).json()["total_calls"], 1);
    drain(&server).await;
    let fresh = reader.header("cache-control", "no-cache");
    for path in [
        "summary",
        "call-volume",
        "workflow-stats",
        "provider-latency",
    ] {
        let refused = fresh.get(&of(path, 60, "&campaign=c7")).await;
        let faults = refused.problem(400, "invalid-request").faults();
        assert_eq!(faults.len(), 1, "{path}");
        assert!(
            faults[0].starts_with("campaign has too many values") && faults[0].contains("31 days"),
            "{faults:?}"
        );
        fresh.get(&of(path, 31, "&campaign=c7")).await.status(200);
        fresh.get(&of(path, 60, "&agent_key=ann")).await.status(200);
        fresh.get(&of(path, 60, "")).await.status(200);
    }
    let short = fresh.get(&of("summary", 31, "&campaign=c7")).await.json();
    assert_eq!(short["total_calls"], 1);
    let agents = fresh.get(&of("summary", 60, "&agent_key=ann")).await.json();
    assert_eq!(agents["total_calls"], 300);
    let all = fresh.get(&of("summary", 60, "")).await.json();
    assert_eq!(all["total_calls"], 600);
    // Another tenant's crowd is not this one's.
    let other = server.tenant("other").await.reader().await;
    other.get(&long).await.status(200);
    // Lists count for themselves.
    let sessions = reader
        .get("/api/v1/voice-sessions?agent_key=ann&limit=1")
        .await;
    assert_eq!(sessions.status(200).json()["total"], 300);
}
