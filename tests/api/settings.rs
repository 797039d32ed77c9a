//! Targets: the defaults, what all agents and one agent have, and what a change does.

use serde_json::{Value, json};

use crate::support::TestServer;

const PATH: &str = "/api/v1/settings/targets";

#[tokio::test]
async fn one_agents_targets_lie_over_those_of_all() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let admin = acme.client("admin").await;
    let unset = admin.get(PATH).await.status(200).json();
    assert_eq!(
        (
            &unset["version"],
            &unset["overrides"],
            &unset["targets"]["stages"]["tts_ms"]
        ),
        (&json!(0), &json!({}), &json!(900))
    );
    let all = json!({"targets": {"stages": {"tts_ms": 400, "llm_ms": 700}, "backchannels": ["aha"]}, "version": 0});
    let set = admin.put(PATH, &all).await.status(200).json();
    assert_eq!(
        (&set["version"], &set["overrides"]),
        (&json!(1), &all["targets"])
    );
    assert_eq!(set["updated_at"], "2025-06-11T12:00:00Z");
    let one = json!({"targets": {"stages": {"tts_ms": 200}}});
    let path = format!("{PATH}?agent=Front%20desk");
    let set = admin.put(&path, &one).await.status(200).json();
    assert_eq!(
        (&set["agent"], &set["version"], &set["targets_version"]),
        (&json!("Front desk"), &json!(2), &json!(2))
    );
    let stages = &set["targets"]["stages"];
    assert_eq!(
        (&stages["tts_ms"], &stages["llm_ms"], &stages["stt_ms"]),
        (&json!(200), &json!(700), &json!(500))
    );
    // Another agent has what all have.
    let other = admin
        .get(&format!("{PATH}?agent=other"))
        .await
        .status(200)
        .json();
    assert_eq!(
        (&other["version"], &other["targets_version"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(other["targets"]["stages"]["tts_ms"], 400);
    // The same again changes nothing; an older version is refused; nothing given is nothing set.
    assert_eq!(
        admin.put(&path, &one).await.status(200).json()["version"],
        2
    );
    let stale = json!({"targets": {}, "version": 1});
    admin.put(&path, &stale).await.problem(409, "conflict");
    let cleared = admin
        .put(&path, &json!({"targets": {}, "version": 2}))
        .await
        .status(200)
        .json();
    assert_eq!(
        (&cleared["version"], &cleared["overrides"]),
        (&json!(3), &json!({}))
    );
    assert_eq!(cleared["targets"]["stages"]["tts_ms"], 400);
    // A name is told back as it was sent.
    let wrong = json!({"targets": {
        "Stages": {}, "stages": {"ttsMs": 1, "tts_m": 1, "llm__ms": 1, "sttMS": 1}, "turn": {"target_ms": -1}
    }});
    let refused = admin.put(&path, &wrong).await;
    assert_eq!(
        refused.problem(422, "invalid-content").faults(),
        [
            "Stages is no target here; the nearest is `stages`",
            "stages.llm__ms is no target here",
            "stages.sttMS is no target here; the nearest is `stt_ms`",
            "stages.ttsMs is no target here; the nearest is `tts_ms`",
            "stages.tts_m is no target here; the nearest is `tts_ms`",
        ]
    );
    let log = admin
        .get("/api/v1/audit-log?action=targets.update")
        .await
        .status(200)
        .json();
    let told: Vec<(&Value, &Value)> = log["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (&e["object_id"], &e["fields"]))
        .collect();
    assert_eq!(
        told,
        [
            (&json!("Front desk"), &json!(["stages.ttsMs"])),
            (&json!("Front desk"), &json!(["stages.ttsMs"])),
            (
                &json!("all agents"),
                &json!(["backchannels", "stages.llmMs", "stages.ttsMs"])
            ),
        ]
    );
    let other_tenant = server.tenant("other").await.client("admin").await;
    assert_eq!(other_tenant.get(PATH).await.status(200).json(), unset);
}

#[tokio::test]
async fn wrong_targets_are_refused_with_all_their_faults() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let admin = acme.client("admin").await;
    let wrong = json!({"targets": {"stages": {"tts_m": 1, "llm_ms": "x"}, "turns": {}}});
    assert_eq!(
        admin
            .put(PATH, &wrong)
            .await
            .problem(422, "invalid-content")
            .faults(),
        [
            "stages.llm_ms must be a number",
            "stages.tts_m is no target here; the nearest is `tts_ms`",
            "turns is no target here; the nearest is `turn`",
        ]
    );
    let out_of_bounds = json!({"targets": {"stages": {"tts_ms": 0, "stt_ms": 1.5}, "interruption": {"false_rate": 2}}});
    assert_eq!(
        admin
            .put(PATH, &out_of_bounds)
            .await
            .problem(422, "invalid-content")
            .faults(),
        [
            "stages.stt_ms must be a whole number",
            "stages.tts_ms must be between 1 and 60000, got `0`",
            "interruption.false_rate must be between 0 and 1, got `2`",
        ]
    );
    assert_eq!(
        admin
            .put(PATH, &json!({"version": -1, "target": {}}))
            .await
            .problem(422, "invalid-content")
            .faults(),
        [
            "targets must be given, as an object",
            "version must be a whole number from 0 on",
            "target is no field here; there are `targets`, `version`",
        ]
    );
    // What is set for one agent must make sense over what all have, also when that changes later.
    let strict = json!({"targets": {"turn": {"critical_ms": 2000}}});
    admin
        .put(&format!("{PATH}?agent=a"), &strict)
        .await
        .status(200);
    let lax = json!({"targets": {"turn": {"target_ms": 2500, "critical_ms": 5000}}});
    assert_eq!(
        admin
            .put(PATH, &lax)
            .await
            .problem(422, "invalid-content")
            .faults(),
        [
            "turn.critical_ms must not be less than `turn.target_ms` (together with what is set for the agent \"a\")"
        ]
    );
    acme.reader()
        .await
        .get(PATH)
        .await
        .problem(403, "missing-scope");
    acme.reader()
        .await
        .put(PATH, &lax)
        .await
        .problem(403, "missing-scope");
}
