//! The console in a real browser: what a person does, and what one sees and hears.

use reqwest::Method;
use serde_json::json;

use super::webdriver::Browser;
use super::{ALL, CALL, full, ingest, slow};
use crate::support::{Tenant, TestServer};

const AXE: &str = "target/axe/node_modules/axe-core/axe.min.js";
/// How far a page goes beyond the window.
const OVERHANG: &str =
    "document.documentElement.scrollWidth - document.documentElement.clientWidth";

async fn record(tenant: &Tenant<'_>, call: &str) {
    let audio = include_bytes!("../../fixtures/recordings/auto-repairs-40-first10s.wav");
    let client = tenant.ingestor().await.header("content-type", "audio/wav");
    let path = format!("/v1/recordings/{call}");
    client
        .send(Method::PUT, &path, |request| request.body(audio.to_vec()))
        .await
        .status(200);
}

#[tokio::test]
async fn a_person_signs_in_filters_opens_a_call_and_hears_it() {
    let server = TestServer::start().await;
    let Some(browser) = Browser::open(&server.base).await else {
        return;
    };
    let acme = server.tenant("acme").await;
    ingest(&acme, &full()).await;
    ingest(&acme, &json!({"session": {"sessionId": "other", "status": "failed", "startedAt": "2025-06-11T11:00:00Z"}})).await;
    record(&acme, CALL).await;

    browser.go("/console").await;
    browser.type_into("input[name=key]", "vxr_wrong").await;
    browser.click("form button.main").await;
    browser
        .until("document.querySelector('[role=alert]') !== null")
        .await;
    assert!(
        browser
            .complaints()
            .await
            .iter()
            .all(|text| text.contains("401"))
    );
    browser.sign_in(&acme.key(ALL).await).await;
    browser
        .until("document.querySelectorAll('#rows tr').length === 2")
        .await;

    // By keyboard, one may go past the navigation at once.
    browser.press("\u{e004}").await;
    assert_eq!(
        browser.value("document.activeElement.className").await,
        json!("skip")
    );
    // By the state, then by the type, which the address then says.
    browser.click("#chips a[href*=completed]").await;
    browser
        .until("document.querySelectorAll('#rows tr').length === 1")
        .await;
    let chosen = "document.querySelector('select[name=type]').value = 'inbound'; \
                  document.querySelector('select[name=type]').dispatchEvent(new Event('change', {bubbles: true}))";
    browser
        .page
        .execute(chosen, Vec::new())
        .await
        .expect("a choice");
    browser
        .until("location.search === '?status=completed&type=inbound'")
        .await;
    browser.click("#rows a.row").await;
    browser
        .until(&format!(
            "location.pathname === '/console/conversations/{CALL}'"
        ))
        .await;
    assert_eq!(browser.text("h1").await, "maître d'");

    // The audio, and the transcript that follows it.
    browser.click(".tabs a[href*=media]").await;
    browser
        .until("document.getElementById('audio')?.readyState > 0")
        .await;
    assert_eq!(
        browser
            .value("document.getElementById('audio').duration")
            .await,
        json!(10)
    );
    let painted = "(() => { const c = document.getElementById('wave'); const d = c.getContext('2d') \
                   .getImageData(0, 0, c.width, c.height).data; return d.some(v => v !== 0); })()";
    browser.until(painted).await;
    browser.click("#turn-1 .at").await;
    browser
        .until("document.getElementById('audio').currentTime > 4.1")
        .await;
    browser
        .until("document.getElementById('turn-1').classList.contains('now')")
        .await;
    browser
        .until("document.getElementById('turn-2').classList.contains('now')")
        .await;
    // By the keyboard, and by the waveform.
    browser
        .page
        .execute("document.activeElement.blur()", Vec::new())
        .await
        .expect("no focus");
    browser.press(" ").await;
    browser
        .until("document.getElementById('audio').paused")
        .await;
    browser.click("#wave").await;
    browser
        .until("Math.abs(document.getElementById('audio').currentTime - 5) < 0.2")
        .await;
    browser.click("#speed option[value='1.5']").await;
    assert_eq!(
        browser
            .value("document.getElementById('audio').playbackRate")
            .await,
        json!(1.5)
    );
    browser.click("#channels button:nth-child(2)").await;
    assert_eq!(
        browser
            .value("document.querySelectorAll('#channels [aria-pressed=true]').length")
            .await,
        json!(1)
    );
    // A word in it.
    browser.type_into("#find", "EIGHT").await;
    browser
        .until("document.getElementById('found').textContent === '1 of 2'")
        .await;

    // Where the time went.
    browser.click(".tabs a[href*=debug]").await;
    browser
        .until("document.querySelector('.falls rect.llm') !== null")
        .await;
    let shares = "[...document.querySelectorAll('#turn-1 rect')].map(r => r.getBoundingClientRect().width / \
                  r.ownerSVGElement.getBoundingClientRect().width)";
    let shares = browser.value(shares).await;
    let shares: Vec<f64> = shares
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|s| s.as_f64())
        .collect();
    for (share, expected) in shares.iter().zip([0.12, 0.08, 0.4, 0.1, 0.18, 0.12]) {
        assert!((share - expected).abs() < 0.01, "{shares:?}");
    }
    assert_eq!(browser.complaints().await, Vec::<String>::new());

    browser.click(".leave button").await;
    browser
        .until("location.pathname === '/console/sign-in'")
        .await;
    browser.go("/console").await;
    browser
        .until("location.pathname === '/console/sign-in'")
        .await;
    browser.close().await;
}

#[tokio::test]
async fn a_new_call_appears_and_changes_while_one_looks() {
    let server = TestServer::start().await;
    let Some(browser) = Browser::open(&server.base).await else {
        return;
    };
    let acme = server.tenant("acme").await;
    browser.sign_in(&acme.key(ALL).await).await;
    assert!(browser.text("#list").await.contains("No conversations yet"));
    browser
        .until("document.getElementById('pulse').textContent === 'Live'")
        .await;
    let call = |status: &str| {
        json!({"session": {"sessionId": CALL, "agentId": "fresh", "status": status,
        "startedAt": "2025-06-11T11:59:00Z"}})
    };
    ingest(&acme, &call("ringing")).await;
    browser
        .until("document.querySelector('#rows .state')?.textContent === 'Ringing'")
        .await;
    // The row that is focused stays so while it changes.
    browser
        .page
        .execute("document.querySelector('#rows a').focus()", Vec::new())
        .await
        .expect("a focus");
    ingest(&acme, &call("active")).await;
    browser
        .until("document.querySelector('#rows .state').textContent === 'Active'")
        .await;
    assert_eq!(
        browser.value("document.activeElement.className").await,
        json!("row")
    );
    let older = json!({"session": {"sessionId": "older", "startedAt": "2025-06-11T11:00:00Z", "status": "failed"}});
    ingest(&acme, &older).await;
    browser
        .until("document.querySelectorAll('#rows tr').length === 2")
        .await;
    assert_eq!(
        browser
            .value("document.querySelector('#rows tr').textContent.includes('fresh')")
            .await,
        json!(true)
    );
    browser
        .until("document.getElementById('chips').textContent.includes('All 2')")
        .await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
}

#[tokio::test]
async fn calls_are_reviewed_by_keyboard_while_the_audio_plays() {
    let server = TestServer::start().await;
    let Some(browser) = Browser::open(&server.base).await else {
        return;
    };
    let acme = server.tenant("acme").await;
    ingest(&acme, &full()).await;
    record(&acme, CALL).await;
    ingest(&acme, &json!({"session": {"sessionId": "older", "agentId": "older", "startedAt": "2025-06-11T09:00:00Z", "status": "failed"}})).await;
    let key = acme.key(ALL).await;
    browser.sign_in(&key).await;
    browser.go("/console/review").await;
    browser
        .until("document.getElementById('audio')?.readyState > 0")
        .await;
    browser.press(" ").await;
    browser
        .until("document.getElementById('audio').currentTime > 0.2")
        .await;
    browser.press("f").await;
    browser.press("n").await;
    browser.until("document.activeElement.id === 'notes'").await;
    browser.press("Spoke over the caller").await;
    browser.press("\u{e009}\u{e007}").await;
    browser
        .until(
            "document.getElementById('evaluations').textContent.includes('Spoke over the caller')",
        )
        .await;
    assert_eq!(
        browser
            .value("document.getElementById('audio').paused")
            .await,
        json!(false)
    );
    assert_eq!(
        browser
            .value("document.getElementById('notes').value")
            .await,
        json!("")
    );
    let evaluations = format!("/api/v1/voice-sessions/{CALL}/evaluations");
    let written = server
        .anonymous()
        .bearer(&key)
        .get(&evaluations)
        .await
        .json();
    assert_eq!(written["data"][0]["verdict"], "fail");
    // A fault is told where it was made.
    browser.type_into("#evaluate input[name=turn]", "1").await;
    browser.press("\u{e009}\u{e007}").await;
    browser
        .until("document.querySelector('#evaluate [role=alert]')?.textContent.includes('must say something')")
        .await;
    browser.press("\u{e00c}").await;
    browser.press("j").await;
    browser
        .until("document.querySelector('.review h2')?.textContent === 'older'")
        .await;
    let complaints = browser.complaints().await;
    // The refused one is told by the browser too.
    assert!(
        complaints.iter().all(|text| text.contains("422")),
        "{complaints:?}"
    );
    browser.close().await;
}

#[tokio::test]
async fn every_page_is_accessible_in_any_light_and_on_a_phone() {
    let server = TestServer::start().await;
    let Some(browser) = Browser::open(&server.base).await else {
        return;
    };
    let axe =
        std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(AXE)).ok();
    if axe.is_none() {
        eprintln!("skipped: axe-core is not at {AXE}; `.ci/run browser` puts it there");
    }
    let acme = server.tenant("acme").await;
    ingest(&acme, &full()).await;
    ingest(&acme, &slow("slow", 11)).await;
    server.analysed().await;
    record(&acme, CALL).await;
    let call = format!("/console/conversations/{CALL}");
    browser.go("/console/sign-in").await;
    let pages = [
        "/console/sign-in".to_owned(),
        "/console".to_owned(),
        "/console?status=queued".to_owned(),
        "/console?issues=any".to_owned(),
        "/console/conversations/slow".to_owned(),
        "/console/conversations/slow?tab=debug".to_owned(),
        call.clone(),
        format!("{call}?tab=media"),
        format!("{call}?tab=debug"),
        format!("/traces/view/{CALL}-turn-1"),
        "/console/dashboard".to_owned(),
        "/console/review".to_owned(),
        "/console/conversations/nobody".to_owned(),
    ];
    browser.sign_in(&acme.key(ALL).await).await;
    for (is_dark, width) in [(false, 1280), (true, 1280), (false, 375), (true, 375)] {
        browser.dark(is_dark).await;
        browser.wide(width, 800).await;
        for path in &pages {
            browser.go(path).await;
            let place = format!("{path}, {width} px, dark: {is_dark}");
            let overhang = browser.value(OVERHANG).await;
            assert!(
                overhang.as_i64().is_some_and(|px| px <= 0),
                "{place}: {overhang} px"
            );
            if let Some(axe) = &axe {
                browser.page.execute(axe, Vec::new()).await.expect("axe");
                let found = browser
                    .awaited(
                        "axe.run().then(r => done(r.violations.map(v => `${v.id}: ${v.nodes.map(n => \
                         n.html.slice(0, 160) + ' ' + n.failureSummary).join('; ')}`)), e => done([String(e)]));",
                    )
                    .await;
                assert_eq!(found, json!([]), "{place}");
            }
            let moved = browser
                .awaited(
                    "let sum = 0; new PerformanceObserver(list => { for (const e of list.getEntries()) sum += e.value; }) \
                     .observe({type: 'layout-shift', buffered: true}); setTimeout(() => done(sum), 150);",
                )
                .await;
            assert!(
                moved.as_f64().is_some_and(|sum| sum < 0.02),
                "{place}: moved by {moved}"
            );
        }
    }
    browser.close().await;
}

#[tokio::test]
async fn a_name_without_a_gap_widens_no_page() {
    let server = TestServer::start().await;
    let Some(browser) = Browser::open(&server.base).await else {
        return;
    };
    let acme = server.tenant("acme").await;
    let long = "W".repeat(200);
    let mut call = slow("long", 11);
    for name in ["agentId", "campaign", "voice", "endReason", "summary"] {
        call["session"][name] = json!(long);
    }
    call["session"]["tags"] = json!([long]);
    call["session"]["workflow"] = json!({"id": long, "name": long});
    call["session"]["providers"] = json!({"stt": long, "llm": long, "tts": long});
    call["toolCalls"] =
        json!([{"callId": "t", "turn": 3, "name": long, "error": long, "startMs": 0, "endMs": 10}]);
    call["errors"] = json!([{"message": long, "service": "llm", "turn": 3}]);
    ingest(&acme, &call).await;
    server.analysed().await;
    browser.go("/console/sign-in").await;
    browser.sign_in(&acme.key(ALL).await).await;
    for width in [1280, 375] {
        browser.wide(width, 800).await;
        for path in [
            "/console",
            "/console/conversations/long",
            "/console/conversations/long?tab=media",
            "/console/conversations/long?tab=debug",
            "/console/dashboard?period=30d",
            "/console/review",
        ] {
            browser.go(path).await;
            let overhang = browser.value(OVERHANG).await;
            assert!(
                overhang.as_i64().is_some_and(|px| px <= 0),
                "{path}, {width} px: {overhang} px"
            );
        }
    }
    browser.close().await;
}

#[tokio::test]
async fn a_transcript_of_two_thousand_turns_stays_smooth() {
    let server = TestServer::start().await;
    let Some(browser) = Browser::open(&server.base).await else {
        return;
    };
    let acme = server.tenant("acme").await;
    let turns: Vec<_> = (0..2_000)
        .map(|n| {
            let speaker = if n % 2 == 0 { "user" } else { "agent" };
            let text = format!("line {n}, and some more words that somebody said in it");
            json!({"speaker": speaker, "text": text, "startMs": n * 1000, "endMs": n * 1000 + 900})
        })
        .collect();
    let call = json!({"session": {"sessionId": CALL, "startedAt": "2025-06-11T10:00:00Z", "status": "completed"},
        "turns": turns});
    ingest(&acme, &call).await;
    record(&acme, CALL).await;
    browser.sign_in(&acme.key(ALL).await).await;
    browser
        .go(&format!("/console/conversations/{CALL}?tab=media"))
        .await;
    // What laying the page out anew takes, and what it would take if all turns were laid out.
    let layout = browser
        .awaited(
            "const list = document.getElementById('turns'), lines = [...list.children]; \
             const time = () => { const times = []; for (let n = 0; n < 25; n++) { list.style.paddingRight = `${n + 1}px`; \
             const start = performance.now(); void list.offsetHeight; times.push(performance.now() - start); } \
             return Math.min(...times); }; \
             requestAnimationFrame(() => requestAnimationFrame(() => { const as_is = time(); \
             for (const line of lines) line.style.contentVisibility = 'visible'; void list.offsetHeight; \
             const all = time(); for (const line of lines) line.style.contentVisibility = ''; done([as_is, all]); }));",
        )
        .await;
    println!("2,000 turns: a layout takes {layout} ms, as it is and with all turns laid out");
    let ms = |n: usize| layout[n].as_f64().expect("a number");
    assert!(ms(0) * 2.0 < ms(1), "{layout}");
    browser.type_into("#find", "line 1999").await;
    browser
        .until("document.getElementById('found').textContent === '1 of 1'")
        .await;
    browser
        .until("(r => r.top >= 0 && r.bottom <= innerHeight)(document.getElementById('turn-1999').getBoundingClientRect())")
        .await;
    browser.close().await;
}

#[tokio::test]
async fn from_an_issue_one_hears_where_it_is() {
    let server = TestServer::start().await;
    let Some(browser) = Browser::open(&server.base).await else {
        return;
    };
    let acme = server.tenant("acme").await;
    ingest(&acme, &slow(CALL, 11)).await;
    record(&acme, CALL).await;
    browser.go("/console").await;
    browser.sign_in(&acme.key(ALL).await).await;
    browser.go(&format!("/console/conversations/{CALL}")).await;
    browser.click(".issues a[href$='#turn-3']").await;
    browser.until("location.search === '?tab=debug'").await;
    browser.click("#turn-3 .issues a[href*='#at-']").await;
    browser.until("location.search === '?tab=media'").await;
    let at_ms = browser.value("Number(location.hash.slice(4))").await;
    assert!(at_ms.as_i64().is_some_and(|ms| ms >= 5_000), "{at_ms}");
    browser
        .until(&format!(
            "Math.abs(document.getElementById('audio')?.currentTime - {at_ms} / 1000) < 0.1"
        ))
        .await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
}
