//! One call in its tabs, with and without the right to see what was said.

use reqwest::Method;
use serde_json::json;

use super::{ALL, CALL, full, ingest, signed_in, submit};
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
