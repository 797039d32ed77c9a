//! One call in its tabs, with and without the right to see what was said.

use reqwest::Method;
use serde_json::json;

use super::{ALL, CALL, full, ingest, signed_in, slow, submit};
use crate::support::TestServer;

#[tokio::test]
async fn the_overview_has_ids_numbers_and_what_was_made_of_the_call() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    ingest(&acme, &full()).await;
    let visitor = signed_in(&server, &acme, ALL).await;
    let path = format!("/console/conversations/{CALL}");
    let html = visitor.get(&path).await.status(200).text();
    for present in [
        CALL,
        "CA0123456789abcdef0123456789abcdef",
        "$0.184",
        "326.5 s (5:26)",
        "Booked &#60;i&#62;two&#60;/i&#62; seats.",
        "spring &#60;b&#62;",
        "&#34;seats&#34;: 2",
        "1,000 ms",
        "+15550142",
        "came very late",
        "Completed",
        "data-copy=",
        "name=\"verdict\"",
    ] {
        assert!(html.contains(present), "{present}: {html}");
    }
    // Any spelling of the id leads there.
    visitor
        .get("/console/conversations/CA0123456789abcdef0123456789abcdef")
        .await
        .status(200);
}

#[tokio::test]
async fn the_transcript_tells_what_was_not_heard() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    ingest(&acme, &full()).await;
    let visitor = signed_in(&server, &acme, ALL).await;
    let path = format!("/console/conversations/{CALL}?tab=media");
    let html = visitor.get(&path).await.status(200).text();
    assert!(html.contains("No recording was sent for this call"));
    assert!(
        html.contains("I have one at eight") && html.contains(">or one at nine</span>"),
        "{html}"
    );
    assert!(html.contains("data-start=\"4000\"") && html.contains(">interrupted</span>"));
    let audio = include_bytes!("../../fixtures/recordings/auto-repairs-40-first10s.wav");
    let put = acme.ingestor().await.header("content-type", "audio/wav");
    let to = format!("/v1/recordings/{CALL}?startOffsetMs=2400");
    put.send(Method::PUT, &to, |request| request.body(audio.to_vec()))
        .await
        .status(200);
    let html = visitor.get(&path).await.status(200).text();
    for present in [
        "<audio",
        "data-offset=\"2400\"",
        "WAV, 0:10",
        "download=1",
        "<canvas",
    ] {
        assert!(html.contains(present), "{present}: {html}");
    }
    let player = html
        .split("<audio")
        .nth(1)
        .and_then(|rest| rest.split("src=\"").nth(1));
    let source = player
        .and_then(|rest| rest.split('"').next())
        .expect("the audio's path");
    let part = visitor
        .header("range", "bytes=0-99")
        .get(source)
        .await
        .status(206);
    assert_eq!(part.body.len(), 100);
}

#[tokio::test]
async fn the_debug_logs_add_up() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    ingest(&acme, &full()).await;
    let visitor = signed_in(&server, &acme, ALL).await;
    let path = format!("/console/conversations/{CALL}?tab=debug");
    let html = visitor.get(&path).await.status(200).text();
    // 120 + 80 + 400 + 100 of the tool + 180, and 120 more, are the 1,000 that were measured.
    for present in [
        "STT final <b>120 ms</b>",
        "Endpointing <b>80 ms</b>",
        "LLM first token <b>400 ms</b>",
        "Tools <b>100 ms</b>",
        "TTS first audio <b>180 ms</b>",
        "Unexplained <b>120 ms</b>",
        "title=\"as its source measured it\">1,000 ms",
        "<rect class=\"llm\" x=\"20.000%\" width=\"40.000%\"",
        "secret-input",
        "secret-result",
        "The user barged in at 0:05: noticed after 120 ms, silent after 200 ms, 1 more word was heard",
        "tts warning: came very late",
        "/traces/view/",
    ] {
        assert!(html.contains(present), "{present}: {html}");
    }
}

#[tokio::test]
async fn what_was_said_is_left_out_for_who_may_not_see_it() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    ingest(&acme, &full()).await;
    let visitor = signed_in(&server, &acme, "sessions:read,reviews:write").await;
    let evaluations = format!("/console/conversations/{CALL}/evaluations");
    submit(&visitor, &evaluations, &[("notes", "secret-note")])
        .await
        .status(303);
    let call = format!("/console/conversations/{CALL}");
    for path in [
        call.clone(),
        format!("{call}?tab=media"),
        format!("{call}?tab=debug"),
        "/console".to_owned(),
        "/console/review?reviewed=any".to_owned(),
        "/console/dashboard".to_owned(),
        format!("/traces/view/{CALL}-turn-1"),
    ] {
        let html = visitor.get(&path).await.status(200).text();
        for said in [
            "table for two",
            "Eight",
            "Booked",
            "secret",
            "very late",
            "15550142",
            "seats",
            "<audio",
        ] {
            assert!(!html.contains(said), "{path}: {said}: {html}");
        }
    }
    let html = visitor.get(&format!("{call}?tab=debug")).await.text();
    assert!(html.contains("transcripts:read") && html.contains("LLM first token <b>400 ms</b>"));
}

#[tokio::test]
async fn a_long_transcript_is_one_page() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let turns: Vec<_> = (0..2_000)
        .map(|n| {
            let speaker = if n % 2 == 0 { "user" } else { "agent" };
            json!({"speaker": speaker, "text": format!("line {n}"), "startMs": n * 1000, "endMs": n * 1000 + 900,
                "llmMs": 300, "ttsMs": 100, "latencyMs": 500})
        })
        .collect();
    let call = json!({"session": {"sessionId": CALL, "startedAt": "2025-06-11T10:00:00Z"}, "turns": turns});
    ingest(&acme, &call).await;
    let visitor = signed_in(&server, &acme, ALL).await;
    for tab in ["media", "debug"] {
        let path = format!("/console/conversations/{CALL}?tab={tab}");
        let html = visitor.get(&path).await.status(200).text();
        assert_eq!(html.matches("<li id=\"turn-").count(), 2_000, "{tab}");
    }
}

#[tokio::test]
async fn a_call_tells_why_it_felt_slow() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    ingest(&acme, &slow(CALL, 11)).await;
    let path = format!("/console/conversations/{CALL}");
    let api = format!("/v1/observability/sessions/{CALL}/root-cause");
    for (scopes, may_see) in [(ALL, true), ("sessions:read", false)] {
        let visitor = signed_in(&server, &acme, scopes).await;
        let found = visitor.get(&api).await.status(200).json();
        let issues = found["issues"].as_array().expect("a list");
        let overview = visitor.get(&path).await.status(200).text();
        let debug = visitor.get(&format!("{path}?tab=debug")).await.status(200);
        let debug = debug.text();
        let high = issues.iter().find(|one| one["type"] == "high_latency");
        let high = high.expect("a slow turn");
        assert_eq!(high["turn"], 3, "{high}");
        let advice = high["recommendation"].as_str().expect("a text");
        let advice = advice.split(['\'', '"', '&']).next().expect("a text");
        let turn = format!("href=\"{path}?tab=debug#turn-3\">Turn 3</a>");
        for present in ["Why it felt slow", "High latency", advice, &turn] {
            assert!(overview.contains(present), "{present}: {overview}");
        }
        assert!(overview.contains(&format!("All that was found ({})", issues.len())));
        // On its turn, with what it cost, and where to hear it.
        let (before, after) = debug.split_once("<li id=\"turn-3\"").expect("the turn");
        let (own, _) = after.split_once("<li id=\"turn-4\"").expect("the next");
        let impact_ms = high["impactMs"].as_i64().expect("a cost");
        let impact = format!("{},{:03} ms lost", impact_ms / 1000, impact_ms % 1000);
        let at = format!("{path}?tab=media#at-{}", high["atMs"]);
        for present in [
            "High latency",
            "class=\"tag bad\">critical",
            &impact,
            &at,
            advice,
        ] {
            assert!(own.contains(present), "{present}: {own}");
        }
        assert!(!before.contains("High latency"), "{before}");
        // The drawn wait is the analysis' wait.
        assert!(own.contains("TTS first audio <b>2,300 ms</b>"), "{own}");
        // What an issue quotes is for who may see what was said.
        for html in [&overview, &debug] {
            assert!(may_see || !html.contains("mauve") && !html.contains("are you there"));
        }
        assert_eq!(debug.contains("mauve is sold out"), may_see, "{debug}");
    }
    // A call in which nothing took long says so.
    let quick = json!({"session": {"sessionId": "quick", "startedAt": "2025-06-11T10:00:00Z"}});
    ingest(&acme, &quick).await;
    let visitor = signed_in(&server, &acme, ALL).await;
    let html = visitor.get("/console/conversations/quick").await.text();
    assert!(
        html.contains("How long its answers took was not measured"),
        "{html}"
    );
}
