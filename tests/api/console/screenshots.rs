//! Pictures of every page, for the README and for looking at: `.ci/screenshots`.

use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use reqwest::Method;
use voxray::samples::generate::{CALL_MAX, Detail, Plan, calls, live};
use voxray::samples::real;

use super::ALL;
use super::webdriver::Browser;
use crate::support::TestServer;

/// A real call whose recording is among the fixtures.
const HEARD: &str = "hvb-010d38f5ada54e0d";

#[tokio::test]
#[ignore = "writes files; run by .ci/screenshots"]
async fn every_page_as_a_picture() {
    let folder = std::env::var_os("VOXRAY_SCREENSHOTS").expect("VOXRAY_SCREENSHOTS: a folder");
    let folder = PathBuf::from(folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    let server = TestServer::start().await;
    let Some(browser) = Browser::open(&server.base).await else {
        return;
    };
    let acme = server.tenant("acme").await;
    let (plan, now) = (
        Plan {
            seed: 1,
            calls_per_day: 90.0,
            detail: Detail::Full,
        },
        server.clock.now(),
    );
    let generated: Vec<_> = calls(&plan, now - TimeDelta::days(7), now - CALL_MAX).collect();
    let going_on = live(&plan, now);
    let heard = real::demo_calls(now).expect("real calls");
    let heard = heard
        .into_iter()
        .find(|call| call["session"]["sessionId"] == HEARD)
        .expect("the call");
    let slow = generated
        .iter()
        .rev()
        .find(|call| {
            call["interruptions"].is_array()
                && call["toolCalls"].is_array()
                && call["spans"].is_array()
        })
        .expect("a call in which much happens");
    let slow = slow["session"]["sessionId"]
        .as_str()
        .expect("an id")
        .to_owned();
    let ingestor = acme.ingestor().await;
    let lines = ingestor.header("content-type", "application/x-ndjson");
    for some in generated
        .iter()
        .chain(&going_on)
        .chain([&heard])
        .collect::<Vec<_>>()
        .chunks(100)
    {
        let body: Vec<String> = some.iter().map(|call| call.to_string()).collect();
        lines
            .post_bytes("/v1/ingest/calls", body.join("\n"))
            .await
            .status(200);
    }
    let audio = include_bytes!("../../fixtures/recordings/synth-hvb-010d38f5ada54e0d.mp3");
    let put = ingestor.header("content-type", "audio/mpeg");
    let to = format!("/v1/recordings/{HEARD}");
    put.send(Method::PUT, &to, |request| request.body(audio.to_vec()))
        .await
        .status(200);

    server.analysed().await;
    let key = acme.key(ALL).await;
    let traces = server.anonymous().bearer(&key);
    let traces = traces
        .get(&format!("/v1/traces/session/{slow}"))
        .await
        .json();
    let trace = traces["traces"][0]["htmlPath"]
        .as_str()
        .expect("a trace")
        .to_owned();
    browser.go("/console/sign-in").await;
    let pages = [
        ("sign-in", "/console/sign-in".to_owned()),
        ("conversations", "/console".to_owned()),
        ("overview", format!("/console/conversations/{slow}")),
        (
            "transcript",
            format!("/console/conversations/{HEARD}?tab=media"),
        ),
        ("debug", format!("/console/conversations/{slow}?tab=debug")),
        ("trace", trace),
        ("dashboard", "/console/dashboard?period=7d".to_owned()),
        ("review", format!("/console/review?id={HEARD}")),
    ];
    browser.sign_in(&key).await;
    for (look, is_dark, width, height) in [
        ("light", false, 1280, 860),
        ("dark", true, 1280, 860),
        ("phone", false, 375, 760),
    ] {
        browser.dark(is_dark).await;
        browser.wide(width, height).await;
        for (name, path) in &pages {
            browser.go(path).await;
            if ["transcript", "review"].contains(name) {
                browser
                    .until("document.getElementById('audio').readyState > 1")
                    .await;
                let seek = "const a = document.getElementById('audio'); a.currentTime = 12; return new Promise(done => \
                            a.addEventListener('seeked', () => setTimeout(done, 300), {once: true}))";
                browser
                    .page
                    .execute(seek, Vec::new())
                    .await
                    .expect("a place");
            }
            let picture = browser.page.screenshot().await.expect("a picture");
            write(&folder, &format!("{name}-{look}.png"), &picture);
        }
    }
    browser.close().await;
}

fn write(folder: &Path, name: &str, picture: &[u8]) {
    std::fs::write(folder.join(name), picture).expect("a file");
}
