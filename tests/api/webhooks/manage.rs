//! Making, showing and closing endpoints, and their logs.

use serde_json::{Value, json};

use super::{House, SECRET, SID, callback, endpoint, log, results};

#[tokio::test]
async fn an_endpoint_is_made_shown_and_closed_and_the_audit_log_has_it() {
    let house = House::open().await;
    let manager = house.manager().await;
    let settings = json!({ "public_url": "https://voxray.example.org", "allowed_hosts": ["a.example:8443"],
                           "fetch_user": "u", "fetch_password": "very secret" });
    let path = endpoint(&manager, "twilio", settings).await;
    let id = path.rsplit('/').next().expect("an id").to_owned();
    assert_eq!(
        (id.len(), path.clone()),
        (32, format!("/v1/ingest/twilio/{id}"))
    );

    let list = manager.get("/v1/admin/webhooks").await.status(200);
    assert!(!list.text().contains(SECRET) && !list.text().contains("very secret"));
    let shown = list.json()["data"][0].clone();
    assert_eq!(
        shown["settings"]["public_url"],
        "https://voxray.example.org"
    );
    assert_eq!(
        (&shown["id"], &shown["disabled_at"]),
        (&json!(id), &Value::Null)
    );

    // Vapi lets us choose: the secret is made up, and told once.
    let wish = json!({ "vendor": "vapi", "name": "assistant", "settings": { "signature": {} } });
    let made = manager.post("/v1/admin/webhooks", &wish).await.status(201);
    assert_eq!(made.json()["secret"].as_str().map(str::len), Some(40));
    assert_eq!(
        made.json()["settings"]["signature"]["signature_header"],
        "x-signature"
    );

    let one = format!("/v1/admin/webhooks/{id}");
    manager.delete(&one).await.status(204);
    manager.delete(&one).await.status(204);
    let params = [("CallSid", SID), ("CallStatus", "completed")];
    let url = format!("https://voxray.example.org{path}");
    callback(&house.vendor(), &path, &url, &params)
        .await
        .problem(404, "not-found");
    let open = manager.get("/v1/admin/webhooks").await.json();
    assert_eq!(open["data"].as_array().map(Vec::len), Some(1));
    let all = manager.get("/v1/admin/webhooks?disabled=true").await.json();
    assert_eq!(all["data"].as_array().map(Vec::len), Some(2));

    let audit = manager
        .get(&format!("/api/v1/audit-log?object_id={id}"))
        .await
        .json();
    let actions: Vec<&Value> = audit["data"]
        .as_array()
        .expect("entries")
        .iter()
        .map(|e| &e["action"])
        .collect();
    assert_eq!(actions, ["webhook.disable", "webhook.create"]);
}

#[tokio::test]
async fn what_makes_no_endpoint_is_told_at_once() {
    let house = House::open().await;
    let manager = house.manager().await;
    let wish = json!({ "vendor": "retell", "name": " ", "settings": {
        "public_url": "voxray", "account_sid": "AC1", "allowed_hosts": ["a b"], "fetch_user": "u",
        "signature": { "payload_format": "{url}" } } });
    let answer = manager.post("/v1/admin/webhooks", &wish).await;
    let faults = answer.problem(422, "invalid-content").faults();
    for name in [
        "name",
        "secret",
        "public_url",
        "account_sid",
        "allowed_hosts",
        "fetch_password",
        "signature",
    ] {
        assert!(
            faults
                .iter()
                .any(|fault| fault.starts_with(&format!("{name} "))),
            "{name}: {faults:?}"
        );
    }
    let other = json!({ "vendor": "bland", "name": "x", "secret": "s" });
    manager
        .post("/v1/admin/webhooks", &other)
        .await
        .problem(422, "invalid-content");
    let unknown = json!({ "vendor": "vapi", "name": "x", "url": "s" });
    manager
        .post("/v1/admin/webhooks", &unknown)
        .await
        .problem(422, "invalid-content");
}

#[tokio::test]
async fn a_neighbour_sees_and_closes_nothing() {
    let house = House::open().await;
    let manager = house.manager().await;
    let path = endpoint(&manager, "retell", json!({})).await;
    let id = path.rsplit('/').next().expect("an id");
    let other = house.server.tenant("other").await.client("admin").await;
    assert_eq!(
        other.get("/v1/admin/webhooks").await.json()["data"],
        json!([])
    );
    let one = format!("/v1/admin/webhooks/{id}");
    other.delete(&one).await.problem(404, "not-found");
    other
        .get(&format!("{one}/deliveries"))
        .await
        .problem(404, "not-found");
    assert_eq!(log(&manager, &path).await, [Value::Null; 0]);
}

#[tokio::test]
async fn a_log_has_the_last_hundred() {
    let house = House::open().await;
    let manager = house.manager().await;
    let path = endpoint(
        &manager,
        "twilio",
        json!({ "public_url": "https://v.example" }),
    )
    .await;
    let url = format!("https://v.example{path}");
    let vendor = house.vendor();
    callback(
        &vendor,
        &path,
        &url,
        &[("CallSid", SID), ("CallStatus", "ringing")],
    )
    .await
    .status(204);
    for _ in 0..100 {
        callback(&vendor, &path, &url, &[("Nothing", "1")])
            .await
            .status(204);
    }
    let log = log(&manager, &path).await;
    assert_eq!(log.len(), 100);
    assert!(
        log.iter()
            .all(|line| line["result"] == "ignored" && line["status"] == 204)
    );
    assert_eq!(log[0]["reason"], "it names no call");
    // And no door but its vendor's.
    let wrong = path.replace("twilio", "retell");
    vendor
        .post(&wrong, &json!({}))
        .await
        .problem(404, "not-found");
    assert_eq!(results(&manager, &path).await.len(), 100);
}
