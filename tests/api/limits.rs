//! Limits on size, time and number, each answered as a problem.

use std::io::Write;
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::Body;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{Client, TestServer};

const LIMIT: usize = 100_000;

async fn limited() -> TestServer {
    TestServer::with(|settings| settings.body_limit_bytes = LIMIT).await
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("written");
    encoder.finish().expect("finished")
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("written");
    encoder.finish().expect("finished")
}

fn chunked(chunk: Vec<u8>, chunks: usize) -> Body {
    Body::wrap_stream(
        futures_util::stream::iter(0..chunks).map(move |_| Ok::<_, std::io::Error>(chunk.clone())),
    )
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_it_is_read() {
    let server = limited().await;
    let probe = server.probe().await;
    probe
        .post_bytes("/probe/payload", vec![b'x'; LIMIT])
        .await
        .status(200);
    probe
        .post_bytes("/probe/payload", vec![b'x'; LIMIT + 1])
        .await
        .problem(413, "too-large");
    // Larger than any buffer between: the answer comes while the client still sends.
    probe
        .post_bytes("/probe/payload", vec![b'x'; 30 << 20])
        .await
        .problem(413, "too-large");
}

#[tokio::test]
async fn who_asks_and_for_what_comes_before_the_size_of_the_body() {
    let server = limited().await;
    let acme = server.tenant("acme").await;
    let (ingestor, reader) = (acme.ingestor().await, acme.reader().await);
    let large = || vec![b'x'; 12 << 20];
    let (ingest, nowhere) = ("/v1/ingest/events", "/v1/nowhere");
    let json = |client: &Client| client.header("content-type", "application/json");
    let send = async |client: &Client, path: &str| json(client).post_bytes(path, large()).await;
    let anonymous = server.anonymous();
    send(&anonymous, ingest)
        .await
        .problem(401, "unauthenticated");
    send(&reader, ingest).await.problem(403, "missing-scope");
    send(&ingestor, ingest).await.problem(413, "too-large");
    send(&ingestor, nowhere).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_body_of_unknown_length_is_stopped_at_the_limit() {
    let server = limited().await;
    let probe = server.probe().await;
    let answer = probe
        .post_bytes("/probe/payload", chunked(vec![b'x'; 1000], LIMIT / 1000))
        .await;
    assert_eq!(answer.status(200).text(), LIMIT.to_string());
    probe
        .post_bytes(
            "/probe/payload",
            chunked(vec![b'x'; 1000], LIMIT / 1000 + 1),
        )
        .await
        .problem(413, "too-large");
}

#[tokio::test]
async fn compressed_bodies_are_read_and_bombs_are_stopped() {
    let server = limited().await;
    let probe = server.probe().await;
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 19).expect("compressed");
    let (fits, bomb) = (vec![b'x'; LIMIT], vec![0; 200 << 20]);
    for (encoding, fits, bomb) in [
        ("gzip", gzip(&fits), gzip(&bomb)),
        ("zstd", zstd(&fits), zstd(&bomb)),
        ("deflate", zlib(&fits), zlib(&bomb)),
        ("zlib", zlib(&fits), zlib(&bomb)),
    ] {
        let client = probe.header("content-encoding", encoding);
        assert_eq!(
            client
                .post_bytes("/probe/payload", fits.clone())
                .await
                .status(200)
                .text(),
            LIMIT.to_string()
        );
        client
            .post_bytes("/probe/payload", bomb)
            .await
            .problem(413, "too-large");
        client
            .post_bytes("/probe/payload", fits[..fits.len() / 2].to_vec())
            .await
            .problem(400, "invalid-request");
        client
            .post_bytes("/probe/payload", "not compressed")
            .await
            .problem(400, "invalid-request");
    }
    // Files packed one by one and put together are one body; what is no file is told.
    for (encoding, first, second) in [
        ("gzip", gzip(b"one "), gzip(b"two")),
        ("X-GZip", gzip(b"one "), gzip(b"two")),
        ("ZSTD", zstd(b"one "), zstd(b"two")),
        ("Deflate", zlib(b"one "), zlib(b"two")),
    ] {
        let client = probe.header("content-encoding", encoding);
        let both = [first.clone(), second].concat();
        let answer = client.post_bytes("/probe/payload", both).await.status(200);
        assert_eq!(answer.text(), "7", "{encoding}");
        let junk = [first, b"junk at the end".to_vec()].concat();
        let answer = client.post_bytes("/probe/payload", junk).await;
        answer.problem(400, "invalid-request");
    }
    for encoding in ["br", "gzip, gzip", "snappy"] {
        let answer = probe
            .header("content-encoding", encoding)
            .post_bytes("/probe/payload", "x")
            .await;
        answer.problem(415, "unsupported-media-type");
    }
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_given_up() {
    let server =
        TestServer::with(|settings| settings.request_timeout = Duration::from_millis(200)).await;
    let answer = server
        .probe()
        .await
        .get("/probe/slow")
        .await
        .problem(503, "unavailable");
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_given_up() {
    let server =
        TestServer::with(|settings| settings.request_timeout = Duration::from_millis(200)).await;
    let first = futures_util::stream::once(async { Ok::<_, std::io::Error>("x") });
    let body = Body::wrap_stream(first.chain(futures_util::stream::pending()));
    server
        .probe()
        .await
        .post_bytes("/probe/payload", body)
        .await
        .problem(408, "request-timeout");
}

#[tokio::test]
async fn more_requests_than_the_limit_are_shed_but_health_is_told() {
    let server = TestServer::with(|settings| settings.concurrency_limit = 1).await;
    let probe = server.probe().await;
    let slow = {
        let probe = probe.clone();
        tokio::spawn(async move { probe.get("/probe/slow").await.status })
    };
    while probe.get("/probe/large").await.status == 200 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let answer = probe.get("/probe/large").await.problem(503, "unavailable");
    assert_eq!(answer.header("retry-after"), "1");
    probe.get("/healthz").await.status(200);
    probe.get("/readyz").await.status(200);
    slow.abort();
}

/// What a client reads that sends first and reads then, as it comes over the wire.
async fn exchanged(server: &TestServer, head: &str, body: &[u8]) -> std::io::Result<String> {
    let address = server.base.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await?;
    let length = 30 << 20;
    let head = format!(
        "{head}\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn who_is_refused_while_sending_reads_the_answer() {
    let server = TestServer::start().await;
    // More than any buffer between takes.
    let body = vec![b'x'; 30 << 20];
    for head in [
        "POST /observability/recordings/v0 HTTP/1.1",
        "PUT /v1/recordings/one HTTP/1.1",
        "POST /v1/traces HTTP/1.1",
    ] {
        let answer = exchanged(&server, head, &body).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 401 "), "{head}: {answer}");
    }
    // Who asks first is told not to send.
    let asking = "PUT /v1/recordings/one HTTP/1.1\r\nExpect: 100-continue";
    let answer = exchanged(&server, asking, b"").await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}

#[tokio::test]
async fn a_head_may_be_long_but_not_endless() {
    let server = TestServer::start().await;
    let address = server.base.trim_start_matches("http://");
    // No more than is read: what is not would have the answer thrown away.
    for (end, status) in [("\r\n\r\n", "200"), ("x", "431")] {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let mut head = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nX-Long: ");
        head.push_str(&"x".repeat((64 << 10) - head.len() - end.len()));
        head.push_str(end);
        stream.write_all(head.as_bytes()).await.expect("sent");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(answer, format!("HTTP/1.1 {status}").as_bytes());
    }
}
