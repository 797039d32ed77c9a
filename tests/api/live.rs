//! Calls as they happen, through real sockets and streams.

use std::time::Duration;

use chrono::TimeDelta;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame as WireFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use voxray::store::api_keys;

use super::support::contract::faults;
use super::support::{Client, TestServer, now};

/// Far more than anything here takes; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const BOTH: &str = "sessions:read,transcripts:read";

struct Socket(WebSocketStream<TcpStream>);

/// What ended a socket.
#[derive(Debug)]
enum Ended {
    Closed(Option<CloseFrame>),
    Broken,
}

/// Opens a socket with a key in a header, or without; the refusal's status and body where there is one.
async fn open(server: &TestServer, path: &str, key: Option<&str>) -> Result<Socket, (u16, Value)> {
    open_with_buffer(server, path, key, None).await
}

async fn open_with_buffer(
    server: &TestServer,
    path: &str,
    key: Option<&str>,
    receive_buffer_bytes: Option<u32>,
) -> Result<Socket, (u16, Value)> {
    let address = server.base.trim_start_matches("http://");
    let socket = TcpSocket::new_v4().expect("a socket");
    if let Some(bytes) = receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes).expect("a small buffer");
    }
    let address_of_server = address.parse().expect("an address");
    let stream = socket.connect(address_of_server).await.expect("connected");
    let mut request = format!("ws://{address}{path}")
        .into_client_request()
        .expect("a request");
    if let Some(key) = key {
        let value = format!("Bearer {key}").parse().expect("a header");
        request.headers_mut().insert("authorization", value);
    }
    match client_async(request, stream).await {
        Ok((socket, _)) => Ok(Socket(socket)),
        Err(Error::Http(response)) => {
            let body = response.body().clone().unwrap_or_default();
            let problem = serde_json::from_slice(&body).unwrap_or(Value::Null);
            Err((response.status().as_u16(), problem))
        }
        Err(error) => panic!("{path}: {error}"),
    }
}

async fn connect(server: &TestServer, path: &str, key: &str) -> Socket {
    open(server, path, Some(key)).await.expect("a socket")
}

#[track_caller]
fn checked(text: &str) -> Value {
    let message: Value = serde_json::from_str(text).expect("a message of JSON");
    let faults = faults("/components/schemas/LiveMessage", &message);
    assert!(faults.is_empty(), "{faults:?} in {message}");
    message
}

impl Socket {
    /// The next message, as the contract has it; or the end.
    async fn next(&mut self) -> Result<Value, Ended> {
        loop {
            let frame = timeout(PATIENCE, self.0.next())
                .await
                .expect("a frame in time");
            match frame {
                Some(Ok(Message::Text(text))) => return Ok(checked(&text)),
                Some(Ok(Message::Close(frame))) => return Err(Ended::Closed(frame)),
                Some(Ok(_)) => {}
                Some(Err(_)) => return Err(Ended::Broken),
                None => return Err(Ended::Closed(None)),
            }
        }
    }

    async fn message(&mut self) -> Value {
        self.next().await.expect("a message")
    }

    /// Up to and with the first message of a type, without counts, which come when they come.
    async fn until(&mut self, last: &str) -> Vec<Value> {
        let mut messages = Vec::new();
        loop {
            let message = self.message().await;
            if message["type"] == last {
                messages.push(message);
                return messages;
            }
            if message["type"] != "active_count" {
                messages.push(message);
            }
        }
    }

    async fn send(&mut self, message: Value) {
        let frame = Message::Text(message.to_string().into());
        self.0.send(frame).await.expect("sent");
    }

    /// What was said before has been followed once this is answered.
    async fn settle(&mut self) {
        self.send(json!({ "type": "ping" })).await;
        self.until("pong").await;
    }

    /// Reads on until the server ends it.
    async fn end(&mut self) -> Ended {
        loop {
            // What comes before is not looked at: that takes time, and the server does not wait for ever.
            match timeout(PATIENCE, self.0.next()).await.expect("an end") {
                Some(Ok(Message::Close(frame))) => return Ended::Closed(frame),
                Some(Ok(_)) => {}
                Some(Err(_)) => return Ended::Broken,
                None => return Ended::Closed(None),
            }
        }
    }
}

fn types(messages: &[Value]) -> Vec<&str> {
    messages
        .iter()
        .map(|m| m["type"].as_str().unwrap_or_default())
        .collect()
}

fn call(id: &str, status: &str, texts: &[&str]) -> Value {
    let turns: Vec<Value> = texts
        .iter()
        .enumerate()
        .map(|(n, text)| json!({ "speaker": "user", "text": text, "startMs": n * 1000, "endMs": n * 1000 + 500 }))
        .collect();
    json!({
        "session": { "sessionId": id, "agentId": "desk", "startedAt": "2025-06-11T11:59:00Z", "status": status,
                     "at": "2025-06-11T11:59:30Z" },
        "turns": turns,
    })
}

async fn write(ingestor: &Client, call: Value) {
    ingestor.post("/v1/ingest/calls", &call).await.status(200);
}

fn error_call(id: &str) -> Value {
    let mut call = call(id, "failed", &["Hello?"]);
    call["errors"] = json!([{ "service": "llm", "level": "error", "code": "timeout", "message": "secret words" }]);
    call
}

#[tokio::test]
async fn an_ingested_call_is_told_in_order_and_without_gaps() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let (ingestor, key) = (acme.ingestor().await, acme.key(BOTH).await);
    let mut socket = connect(&server, "/ws/calls", &key).await;
    let connected = socket.message().await;
    assert_eq!(connected["type"], "connected");
    assert_eq!(
        (&connected["seq"], &connected["data"]["active_count"]),
        (&json!(0), &json!(0))
    );

    let id = "01890a5d-7c3e-4b9a-8c1d-2e3f40516273";
    write(&ingestor, call(id, "active", &["One", "Two"])).await;
    let first = socket.until("call.transcript").await;
    assert_eq!(types(&first), ["call.started", "call.transcript"]);
    assert_eq!(
        (first[0]["call_id"].as_str(), &first[0]["data"]["status"]),
        (Some(id), &json!("active"))
    );
    assert_eq!(
        first[1]["data"],
        json!({ "index": 0, "speaker": "user", "text": "One", "start_ms": 0, "end_ms": 500 })
    );
    let second = socket.until("call.transcript").await;
    assert_eq!(second[0]["data"]["text"], "Two");

    let mut later = error_call(id);
    later["session"]["at"] = json!("2025-06-11T11:59:40Z");
    write(&ingestor, later).await;
    let rest = socket.until("call.failed").await;
    let (last, error) = (&rest[rest.len() - 1], &rest[rest.len() - 2]);
    assert_eq!(
        (&error["type"], &error["data"]["message"]),
        (&json!("call.error"), &json!("secret words"))
    );
    assert_eq!(
        (&last["data"]["status"], &last["data"]["errors"]),
        (&json!("failed"), &json!(1))
    );
    assert_eq!(last["timestamp"], "2025-06-11T12:00:00Z");
    let seqs: Vec<i64> = [first, second, rest]
        .concat()
        .iter()
        .filter_map(|m| m["seq"].as_i64())
        .collect();
    assert_eq!(seqs, (1..=seqs.len() as i64).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_turn_is_told_when_something_is_said_of_it() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let (ingestor, key) = (acme.ingestor().await, acme.key(BOTH).await);
    let mut socket = connect(&server, "/ws/calls", &key).await;
    socket.message().await;
    let mut late = call("c", "active", &["First", "Second", "Third"]);
    let second = late["turns"].as_array_mut().expect("turns").remove(1);
    for (index, turn) in [(0, 0), (1, 2)] {
        late["turns"][index]["index"] = json!(turn);
    }
    write(&ingestor, late.clone()).await;
    // Told before the next version of the call takes them back.
    let mut told = socket.until("call.transcript").await;
    told.extend(socket.until("call.transcript").await);
    // In between: what the third answers is another turn now, and nothing more.
    let mut between = second;
    between["index"] = json!(1);
    late["turns"] = json!([between]);
    write(&ingestor, late).await;
    write(&ingestor, call("end", "completed", &[])).await;
    told.extend(socket.until("call.ended").await);
    let said: Vec<&str> = told
        .iter()
        .filter(|message| message["type"] == "call.transcript")
        .map(|message| message["data"]["text"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(said, ["First", "Third", "Second"], "{told:?}");
}

/// Longer texts than are read at once.
#[tokio::test]
async fn long_texts_are_told_page_by_page() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let (ingestor, key) = (acme.ingestor().await, acme.key(BOTH).await);
    for n in 0..8 {
        let texts = ["a", "b", "c", "d"].map(|letter| letter.repeat(90_000));
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        write(&ingestor, call(&format!("s{n}"), "active", &texts)).await;
    }
    write(&ingestor, call("end", "completed", &[])).await;
    let mut socket = connect(&server, "/ws/calls?after=0", &key).await;
    let told = socket.until("call.ended").await;
    let is_said = |message: &&Value| message["type"] == "call.transcript";
    let lengths = told
        .iter()
        .filter(is_said)
        .map(|message| message["data"]["text"].as_str().map(str::len));
    assert_eq!(lengths.collect::<Vec<_>>(), [Some(90_000); 32]);
    let numbers: Vec<i64> = told
        .iter()
        .filter_map(|message| message["seq"].as_i64())
        .filter(|seq| *seq > 0)
        .collect();
    assert!(numbers.is_sorted() && numbers.len() > 40, "{numbers:?}");
}

#[tokio::test]
async fn the_number_of_active_calls_is_told_when_it_changes() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let (ingestor, key) = (acme.ingestor().await, acme.key(BOTH).await);
    let mut socket = connect(&server, "/ws/calls?types=active_count", &key).await;
    socket.message().await;
    for (status, at, expected) in [("active", "11:59:30", 1), ("completed", "11:59:40", 0)] {
        let mut one = call("s", status, &[]);
        one["session"]["at"] = json!(format!("2025-06-11T{at}Z"));
        write(&ingestor, one).await;
        let told = socket.message().await;
        assert_eq!(told["type"], "active_count");
        assert_eq!(told["data"]["active_count"], expected);
    }
    let late = connect(&server, "/ws/calls", &key).await.message().await;
    assert_eq!(late["data"]["active_count"], 0);
}

#[tokio::test]
async fn a_deleted_call_is_told_to_be_gone() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let (ingestor, key) = (acme.ingestor().await, acme.key(BOTH).await);
    let mut one = call("s", "active", &["secret words"]);
    one["session"]["at"] = json!("2025-06-11T11:59:30Z");
    write(&ingestor, one).await;
    let mut socket = connect(&server, "/ws/calls", &key).await;
    assert_eq!(socket.message().await["data"]["active_count"], 1);
    let admin = acme.client("admin").await;
    admin.delete("/api/v1/sessions/s").await.status(204);
    let told = socket.until("call.deleted").await.pop().expect("the end");
    assert_eq!(told["data"], json!({}));
    assert!(told["call_id"].is_string());
    let count = socket.message().await;
    assert_eq!(count["type"], "active_count");
    assert_eq!(count["data"]["active_count"], 0);
}

/// A span of one conversation, as any OTLP exporter sends it.
fn span(span_id: &str, conversation: &str) -> Value {
    json!({"resourceSpans": [{"scopeSpans": [{"spans": [{
        "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": span_id, "name": "turn",
        "startTimeUnixNano": "1749643170000000000", "endTimeUnixNano": "1749643171000000000",
        "attributes": [{"key": "session.id", "value": {"stringValue": conversation}}]
    }]}]}]})
}

#[tokio::test]
async fn a_call_may_be_named_as_in_a_path() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let (ingestor, key) = (acme.ingestor().await, acme.key(BOTH).await);
    // Named before anybody has heard of it, by the one name, and later by another.
    let mut early = connect(&server, "/ws/calls?call_ids=conv-x", &key).await;
    early.message().await;
    let first = span("b7ad6b7169203331", "conv-x");
    ingestor.post("/v1/traces", &first).await.status(200);
    let started = early.until("call.started").await.pop().expect("a start");
    let mut late = connect(&server, "/ws/calls", &key).await;
    late.message().await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    late.send(json!({"type": "subscribe", "call_ids": [trace]}))
        .await;
    late.settle().await;
    let second = span("b7ad6b7169203332", "conv-x");
    ingestor.post("/v1/traces", &second).await.status(200);
    let updated = late.until("call.updated").await.pop().expect("an update");
    assert_eq!(updated["call_id"], started["call_id"]);
    assert_eq!(
        early.until("call.updated").await.pop().expect("an update")["seq"],
        updated["seq"]
    );
}

#[tokio::test]
async fn several_servers_on_one_store_tell_the_same() {
    let one = TestServer::start().await;
    let two = one.beside().await;
    let acme = one.tenant("acme").await;
    let (ingestor, key) = (acme.ingestor().await, acme.key(BOTH).await);
    let mut sockets = [
        connect(&one, "/ws/calls", &key).await,
        connect(&two, "/ws/calls", &key).await,
    ];
    for socket in &mut sockets {
        socket.message().await;
    }
    write(&ingestor, call("s", "completed", &["Hello"])).await;
    let [first, second] = &mut sockets;
    let (first, second) = (
        first.until("call.ended").await,
        second.until("call.ended").await,
    );
    assert_eq!(
        types(&first),
        ["call.started", "call.transcript", "call.ended"]
    );
    assert_eq!(first, second);
}

#[tokio::test]
async fn another_tenant_hears_nothing() {
    let server = TestServer::start().await;
    let (acme, other) = (server.tenant("acme").await, server.tenant("other").await);
    let mut stranger = connect(&server, "/ws/calls", &other.key(BOTH).await).await;
    let mut own = connect(&server, "/ws/calls", &acme.key(BOTH).await).await;
    stranger.message().await;
    own.message().await;
    write(&acme.ingestor().await, call("s", "completed", &["Secret"])).await;
    let ended = own.until("call.ended").await.pop().expect("the end");
    // Its own first event comes first, with the first number.
    write(&other.ingestor().await, call("s", "completed", &["Mine"])).await;
    let told = stranger.until("call.ended").await;
    assert_eq!(
        types(&told),
        ["call.started", "call.transcript", "call.ended"]
    );
    assert_eq!(
        (&told[0]["seq"], &told[1]["data"]["text"]),
        (&json!(1), &json!("Mine"))
    );
    // Nor does it by naming the call.
    let theirs = call("another", "failed", &[]);
    stranger
        .send(json!({ "type": "subscribe", "call_ids": [ended["call_id"]] }))
        .await;
    stranger.settle().await;
    write(&acme.ingestor().await, theirs).await;
    own.until("call.started").await;
    stranger.settle().await;
}

#[tokio::test]
async fn what_was_said_needs_the_right_to_it() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    // The order of coming must not matter to what is loaded for whom.
    let mut full = connect(&server, "/ws/calls", &acme.key(BOTH).await).await;
    let mut bare = connect(&server, "/ws/calls", &acme.key("sessions:read").await).await;
    full.message().await;
    bare.message().await;
    write(&acme.ingestor().await, error_call("s")).await;
    let all = full.until("call.failed").await;
    assert_eq!(
        types(&all),
        [
            "call.started",
            "call.transcript",
            "call.error",
            "call.failed"
        ]
    );
    assert!(all[2]["data"]["content_withheld"].is_null());
    let less = bare.until("call.failed").await;
    assert_eq!(types(&less), ["call.started", "call.error", "call.failed"]);
    assert_eq!(less[1]["data"]["message"], "timeout");
    assert_eq!(less[1]["data"]["content_withheld"], true);
    assert!(!json!(less).to_string().contains("secret words"));

    let nobody = open(&server, "/ws/calls", Some(&acme.key("ingest:write").await)).await;
    assert_eq!(nobody.err().map(|(status, _)| status), Some(403));
    // The same from the store.
    let key = acme.key("sessions:read").await;
    let mut again = connect(&server, "/ws/calls?after=0", &key).await;
    again.message().await;
    assert_eq!(again.until("call.failed").await, less);

    // Whatever else may be somebody's words: a reason that is no code, a code that is none.
    let mut worded = call("worded", "failed", &[]);
    worded["session"]["endReason"] = json!("secret words of the caller");
    worded["errors"] = json!([{ "id": "e", "level": "error", "service": "llm", "code": "secret words too", "message": "slow" }]);
    write(&acme.ingestor().await, worded).await;
    let all = full.until("call.failed").await;
    assert!(
        json!(all)
            .to_string()
            .contains("secret words of the caller")
    );
    let mut later = connect(&server, "/ws/calls?after=4", &key).await;
    later.message().await;
    for bare in [&mut bare, &mut later] {
        let less = bare.until("call.failed").await;
        assert!(
            !json!(less).to_string().contains("secret words"),
            "{less:?}"
        );
    }
}

#[tokio::test]
async fn a_client_says_what_it_wants() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let (ingestor, key) = (acme.ingestor().await, acme.key(BOTH).await);
    let mut socket = connect(&server, "/ws/calls", &key).await;
    socket.message().await;
    socket
        .send(json!({ "type": "subscribe", "call_ids": ["wanted"], "types": ["call.started", "call.ended"] }))
        .await;
    socket.settle().await;
    write(&ingestor, call("unwanted", "completed", &["Hello"])).await;
    write(&ingestor, call("wanted", "completed", &["Hello"])).await;
    let told = socket.until("call.ended").await;
    assert_eq!(types(&told), ["call.started", "call.ended"]);
    assert_eq!(told[0]["call_id"], told[1]["call_id"]);
    assert!(told[0]["seq"].as_i64() > Some(3), "{told:?}");

    socket
        .send(json!({ "type": "unsubscribe", "types": ["call.started"] }))
        .await;
    socket
        .send(json!({ "type": "subscribe", "call_ids": ["other"] }))
        .await;
    socket.settle().await;
    write(&ingestor, call("other", "completed", &["Hello"])).await;
    let told = socket.until("call.ended").await;
    assert_eq!(types(&told), ["call.ended"]);

    socket.send(json!([])).await;
    let told = socket.until("error").await;
    let message = told[0]["data"]["message"].as_str().expect("a complaint");
    assert!(
        message.contains("a message is an object") && !message.contains("struct"),
        "{message}"
    );
    for nonsense in [
        json!("hello"),
        json!({ "type": "dance" }),
        json!({ "type": "subscribe", "types": ["call"] }),
    ] {
        socket.send(nonsense).await;
        let told = socket.until("error").await;
        assert_eq!(told[0]["data"]["code"], "invalid_message");
    }
    socket
        .0
        .send(Message::Binary(vec![0].into()))
        .await
        .expect("sent");
    socket.until("error").await;
    socket.settle().await;
}

#[tokio::test]
async fn who_comes_back_misses_nothing_that_is_kept() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let (ingestor, key) = (acme.ingestor().await, acme.key(BOTH).await);
    let mut socket = connect(&server, "/ws/calls", &key).await;
    socket.message().await;
    for n in 0..60 {
        write(&ingestor, call(&format!("s{n}"), "completed", &["Hello"])).await;
    }
    let mut told = Vec::new();
    while told.last().is_none_or(|last: &Value| last["seq"] != 180) {
        told.extend(socket.until("call.ended").await);
    }
    // More than a page of them.
    let mut again = connect(&server, "/ws/calls?after=10", &key).await;
    assert_eq!(again.message().await["seq"], 10);
    for expected in &told[10..] {
        assert_eq!(
            &again
                .until(expected["type"].as_str().unwrap_or_default())
                .await[0],
            expected
        );
    }
    write(&ingestor, call("live", "completed", &[])).await;
    let live = again.until("call.ended").await;
    assert_eq!(
        (&live[0]["seq"], &live[1]["seq"]),
        (&json!(181), &json!(182))
    );
}

#[tokio::test]
async fn a_gap_is_told() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let (ingestor, key) = (acme.ingestor().await, acme.key(BOTH).await);
    let mut watching = connect(&server, "/ws/calls", &key).await;
    watching.message().await;
    write(&ingestor, call("old", "completed", &[])).await;
    watching.until("call.ended").await;
    // From another installation, or of a store that was restored.
    let mut ahead = connect(&server, "/ws/calls?after=77", &key).await;
    assert_eq!(ahead.message().await["seq"], 2);
    let gap = ahead.message().await;
    assert_eq!(gap["data"]["code"], "gap");
    let says = |gap: &Value, part: &str| {
        gap["data"]["message"]
            .as_str()
            .is_some_and(|message| message.contains(part))
    };
    assert!(says(&gap, "there has been no event `after`"), "{gap}");

    server.clock.advance(TimeDelta::minutes(11));
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let gap = loop {
        let mut back = connect(&server, "/ws/calls?after=1", &key).await;
        back.message().await;
        let next = back.message().await;
        if next["type"] == "error" {
            break next;
        }
        assert!(tokio::time::Instant::now() < deadline, "old events stay");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert_eq!(
        (&gap["data"]["after"], &gap["data"]["oldest"]),
        (&json!(1), &json!(3))
    );
    assert!(says(&gap, "are kept no more"), "{gap}");
    write(&ingestor, call("new", "completed", &[])).await;
    let live = ahead.until("call.ended").await;
    assert_eq!((&live[0]["seq"], &live[1]["seq"]), (&json!(3), &json!(4)));
}

async fn ticket(client: &Client) -> String {
    let answer = client.post("/api/v1/live/tickets", &json!({})).await;
    let token = answer.status(201).json()["token"].clone();
    token.as_str().expect("a token").to_owned()
}

#[tokio::test]
async fn a_ticket_opens_one_socket_on_any_server_with_its_keys_rights() {
    let one = TestServer::start().await;
    let two = one.beside().await;
    let acme = one.tenant("acme").await;
    let token = ticket(&acme.reader().await).await;
    write(&acme.ingestor().await, call("s", "completed", &["Hello"])).await;
    let path = format!("/ws/calls?after=0&token={token}");
    let mut socket = open(&two, &path, None).await.expect("a socket");
    socket.message().await;
    let told = socket.until("call.ended").await;
    assert_eq!(types(&told), ["call.started", "call.ended"]);
    for server in [&one, &two] {
        let again = open(server, &path, None).await.err();
        assert_eq!(again.map(|(status, _)| status), Some(401));
    }
    // Without a body it is the same, with a wish it is not.
    let reader = acme.reader().await;
    reader
        .post_bytes("/api/v1/live/tickets", "")
        .await
        .status(201);
    let wish = json!({ "scopes": ["admin"] });
    reader
        .post("/api/v1/live/tickets", &wish)
        .await
        .problem(422, "invalid-content");
    let ingestor = acme.ingestor().await;
    ingestor
        .post("/api/v1/live/tickets", &json!({}))
        .await
        .problem(403, "missing-scope");
}

#[tokio::test]
async fn a_ticket_ends_with_its_minute_and_with_its_key() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let key = acme.key("sessions:read").await;
    let client = server.anonymous().bearer(&key);
    let refused = async |token: &str| {
        let path = format!("/ws/calls?token={token}");
        open(&server, &path, None)
            .await
            .err()
            .map(|(status, _)| status)
    };
    let (late, good) = (ticket(&client).await, ticket(&client).await);
    server.clock.advance(TimeDelta::seconds(59));
    let path = format!("/ws/calls?token={good}");
    open(&server, &path, None).await.expect("a socket");
    server.clock.advance(TimeDelta::seconds(1));
    assert_eq!(refused(&late).await, Some(401));

    let orphan = ticket(&client).await;
    let id = key.split('_').nth(1).expect("an id");
    api_keys::revoke(&server.app.store, id, now())
        .await
        .expect("revoked");
    assert_eq!(refused(&orphan).await, Some(401));
    // Another key's name on it makes no ticket.
    let other = server.tenant("other").await.key("sessions:read").await;
    let other_id = other.split('_').nth(1).expect("an id");
    let other_client = server.anonymous().bearer(&other);
    let stolen = ticket(&other_client).await.replace(other_id, id);
    assert_eq!(refused(&stolen).await, Some(401));
    assert_eq!(refused("nonsense").await, Some(401));
}

#[tokio::test]
async fn a_key_in_the_query_is_refused() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let key = acme.key(BOTH).await;
    for path in ["/ws/calls", "/api/v1/sse/calls/stream"] {
        for name in ["token", "api_key"] {
            let path = format!("{path}?{name}={key}");
            for client in [server.anonymous(), server.anonymous().bearer(&key)] {
                let answer = client.get(&path).await.problem(400, "invalid-request");
                assert!(
                    answer.faults()[0].contains("must not be an API key"),
                    "{path}"
                );
                assert!(!answer.text().contains(&key), "{path}");
            }
        }
    }
    let client = server.anonymous().bearer(&key);
    let token = ticket(&client).await;
    let two = client
        .get(&format!("/ws/calls?token={token}&after=-1"))
        .await;
    assert_eq!(two.status(400).faults().len(), 2);
    let plain = client
        .get("/ws/calls")
        .await
        .problem(400, "invalid-request");
    assert!(plain.faults()[0].starts_with("upgrade "));
    for (parameter, fault) in [
        ("types=call", "a type is one of"),
        ("call_ids=,", "must not be empty"),
        ("call_ids=a%00b", "must not contain NUL"),
        ("call_ids=%FF", "valid UTF-8"),
    ] {
        let answer = client
            .get(&format!("/ws/calls?{parameter}"))
            .await
            .status(400);
        assert!(answer.faults()[0].contains(fault), "{parameter}");
    }
}

/// The close code of a socket that the server ended in order.
#[track_caller]
fn close_code(ended: Ended) -> (u16, String) {
    match ended {
        Ended::Closed(Some(frame)) => (frame.code.into(), frame.reason.to_string()),
        ended => panic!("no close frame: {ended:?}"),
    }
}

#[tokio::test]
async fn who_leaves_in_order_is_let_go_in_order() {
    let server = TestServer::start().await;
    let key = server.tenant("acme").await.key(BOTH).await;
    let mut socket = connect(&server, "/ws/calls", &key).await;
    socket.message().await;
    let farewell = CloseFrame {
        code: 1000.into(),
        reason: "done".into(),
    };
    socket.0.close(Some(farewell)).await.expect("sent");
    assert_eq!(close_code(socket.end().await).0, 1000);
}

#[tokio::test]
async fn what_is_no_message_ends_a_socket_with_its_reason() {
    let server = TestServer::start().await;
    let key = server.tenant("acme").await.key(BOTH).await;
    let broken = WireFrame::message(vec![b'"', 0xff, b'"'], OpCode::Data(Data::Text), true);
    for (frame, code) in [
        (Message::Text("x".repeat((64 << 10) + 1).into()), 1009),
        (Message::Frame(broken), 1007),
        (
            Message::Frame(WireFrame::message(
                vec![],
                OpCode::Data(Data::Reserved(3)),
                true,
            )),
            1002,
        ),
    ] {
        let mut socket = connect(&server, "/ws/calls", &key).await;
        socket.message().await;
        socket.0.send(frame).await.expect("sent");
        assert_eq!(close_code(socket.end().await).0, code);
    }
}

#[tokio::test]
async fn a_revoked_or_expired_key_ends_what_it_opened() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let (revoked, ticketed) = (acme.key(BOTH).await, acme.key(BOTH).await);
    let until = now() + TimeDelta::minutes(5);
    let expiring = acme.key_until(BOTH, Some(until)).await;
    let by_ticket = ticket(&server.anonymous().bearer(&ticketed)).await;
    let mut sockets = vec![
        connect(&server, "/ws/calls", &revoked).await,
        open(&server, &format!("/ws/calls?token={by_ticket}"), None)
            .await
            .expect("a socket"),
    ];
    let mut last = connect(&server, "/ws/calls", &expiring).await;
    let mut stream = Stream::open(&server, "", &revoked).await;
    stream.message().await;
    for socket in &mut sockets {
        socket.message().await;
    }
    last.message().await;
    let started = std::time::Instant::now();
    for key in [&revoked, &ticketed] {
        let id = key.split('_').nth(1).expect("an id");
        api_keys::revoke(&server.app.store, id, now())
            .await
            .expect("revoked");
    }
    for mut socket in sockets {
        assert_eq!(close_code(socket.end().await).0, 1008);
    }
    let told = stream.message().await;
    assert_eq!(told["data"]["code"], "key_ended");
    assert!(stream.next().await.is_none());
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );

    last.settle().await;
    server.clock.advance(TimeDelta::minutes(6));
    assert_eq!(close_code(last.end().await).0, 1008);
}

#[tokio::test]
async fn a_client_that_does_not_keep_up_is_sent_away_with_a_reason() {
    let server =
        TestServer::with(|settings| settings.live_send_timeout = Duration::from_secs(5)).await;
    let acme = server.tenant("acme").await;
    let (ingestor, key) = (acme.ingestor().await, acme.key(BOTH).await);
    let mut slow = open_with_buffer(&server, "/ws/calls", Some(&key), Some(8 << 10))
        .await
        .expect("a socket");
    let mut quick = connect(&server, "/ws/calls", &key).await;
    slow.message().await;
    quick.message().await;
    let listening = tokio::spawn(async move {
        for _ in 0..3 {
            quick.until("call.ended").await;
        }
        quick
    });
    // Far more than all buffers between the two hold.
    let text = "word ".repeat(18_000);
    for n in 0..3 {
        let texts = [text.as_str(); 80];
        write(&ingestor, call(&format!("s{n}"), "completed", &texts)).await;
    }
    let mut quick = listening.await.expect("everything was heard");
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while server.app.live.slow_disconnects() == 0 {
        assert!(tokio::time::Instant::now() < deadline, "nobody is too slow");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (code, reason) = close_code(slow.end().await);
    assert_eq!(code, 1013);
    assert!(reason.contains("too slow"), "{reason}");
    quick.settle().await;
    assert_eq!(server.app.live.slow_disconnects(), 1);
}

#[tokio::test]
async fn a_stopping_server_sends_everybody_away_at_once() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let key = acme.key(BOTH).await;
    let mut socket = connect(&server, "/ws/calls", &key).await;
    let mut stream = Stream::open(&server, "", &key).await;
    socket.message().await;
    stream.message().await;
    let started = std::time::Instant::now();
    server.stop();
    assert_eq!(close_code(socket.end().await).0, 1001);
    assert_eq!(stream.message().await["data"]["code"], "server_stopping");
    assert!(stream.next().await.is_none());
    timeout(PATIENCE, server.app.live.ended())
        .await
        .expect("all have left");
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_tenant_has_so_many_connections_and_no_more() {
    let server = TestServer::with(|settings| {
        settings.live_connections = 2;
        settings.concurrency_limit = 2;
    })
    .await;
    let acme = server.tenant("acme").await;
    let key = acme.key(BOTH).await;
    let socket = connect(&server, "/ws/calls", &key).await;
    let _stream = Stream::open(&server, "", &key).await;
    let client = server.anonymous().bearer(&key);
    let full = client
        .get("/api/v1/sse/calls/stream")
        .await
        .problem(429, "too-many-requests");
    assert_eq!(
        (full.header("ratelimit-limit"), full.header("retry-after")),
        ("2".into(), "10".into())
    );
    assert_eq!(
        open(&server, "/ws/calls", Some(&key))
            .await
            .err()
            .map(|(status, _)| status),
        Some(429)
    );
    // Others are not concerned, nor are short requests.
    let other = server.tenant("other").await.key(BOTH).await;
    connect(&server, "/ws/calls", &other).await.message().await;
    client
        .get("/api/v1/analytics/active-calls")
        .await
        .status(200);
    drop(socket);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while open(&server, "/ws/calls", Some(&key)).await.is_err() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the place stays taken"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Server-sent events.
struct Stream {
    chunks:
        std::pin::Pin<Box<dyn futures_util::Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>,
    received: String,
    last_id: String,
}

impl Stream {
    async fn open(server: &TestServer, query: &str, key: &str) -> Self {
        Self::open_after(server, query, key, None).await
    }

    async fn open_after(
        server: &TestServer,
        query: &str,
        key: &str,
        last_id: Option<&str>,
    ) -> Self {
        let url = format!("{}/api/v1/sse/calls/stream{query}", server.base);
        let mut request = reqwest::Client::new().get(url).bearer_auth(key);
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        // Compressed, a stream would come in lumps.
        let response = request
            .header("accept-encoding", "gzip")
            .send()
            .await
            .expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert!(!response.headers().contains_key("content-encoding"));
        Self {
            chunks: Box::pin(response.bytes_stream()),
            received: String::new(),
            last_id: String::new(),
        }
    }

    /// The next message; none at the end.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((event, rest)) = self.received.split_once("\n\n") {
                let line = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                if let Some(id) = line("id: ") {
                    self.last_id = id.to_owned();
                }
                let message = checked(line("data: ").expect("data"));
                self.received = rest.to_owned();
                return Some(message);
            }
            let chunk = timeout(PATIENCE, self.chunks.next())
                .await
                .expect("a chunk in time")?;
            self.received += std::str::from_utf8(&chunk.expect("a chunk")).expect("text");
        }
    }

    async fn message(&mut self) -> Value {
        self.next().await.expect("a message")
    }
}

#[tokio::test]
async fn a_stream_tells_the_same_and_goes_on_where_it_ended() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let (ingestor, key) = (acme.ingestor().await, acme.key(BOTH).await);
    let mut socket = connect(&server, "/ws/calls", &key).await;
    let query = "?types=call.started,call.transcript,call.ended";
    let mut stream = Stream::open(&server, query, &key).await;
    assert_eq!(stream.message().await["type"], "connected");
    socket.message().await;
    write(&ingestor, call("s", "completed", &["Hello"])).await;
    for told in socket.until("call.ended").await {
        assert_eq!(stream.message().await, told);
    }
    assert_eq!(stream.last_id, "3");
    drop(stream);
    write(&ingestor, call("meanwhile", "completed", &[])).await;
    let mut again = Stream::open_after(&server, "?after=0", &key, Some("3")).await;
    assert_eq!(again.message().await["seq"], 3);
    for told in socket.until("call.ended").await {
        assert_eq!(again.message().await, told);
    }
    let client = server.anonymous().bearer(&key);
    let wrong = client
        .header("last-event-id", "x")
        .get("/api/v1/sse/calls/stream")
        .await;
    assert_eq!(wrong.problem(400, "invalid-request").faults().len(), 1);
    // A ticket is for sockets.
    let token = ticket(&client).await;
    let path = format!("/api/v1/sse/calls/stream?token={token}");
    server
        .anonymous()
        .get(&path)
        .await
        .problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_stream_that_is_not_read_ends_with_a_reason_and_can_go_on() {
    let server =
        TestServer::with(|settings| settings.live_send_timeout = Duration::from_secs(1)).await;
    let acme = server.tenant("acme").await;
    let (ingestor, key) = (acme.ingestor().await, acme.key(BOTH).await);
    let mut slow = Stream::open(&server, "", &key).await;
    slow.message().await;
    let text = "word ".repeat(18_000);
    for n in 0..4 {
        let texts = [text.as_str(); 80];
        write(&ingestor, call(&format!("s{n}"), "completed", &texts)).await;
    }
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while server.app.live.slow_disconnects() == 0 {
        assert!(tokio::time::Instant::now() < deadline, "nobody is too slow");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut told = Vec::new();
    while let Some(message) = slow.next().await {
        told.push(message);
    }
    let last = told.pop().expect("a farewell");
    assert_eq!(last["data"]["code"], "too_slow");
    assert_eq!(last["seq"], told[told.len() - 1]["seq"]);
    let query = "?types=call.transcript";
    let mut again = Stream::open_after(&server, query, &key, Some(&slow.last_id)).await;
    again.message().await;
    let next = again.message().await;
    assert!(
        next["seq"].as_i64() > last["seq"].as_i64(),
        "{}",
        next["seq"]
    );
}
