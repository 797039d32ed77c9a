use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::State;
use axum::response::IntoResponse;
use futures_util::FutureExt;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::rounds::TURN_MAX;
use super::*;
use crate::problem::whole;

/// A handler that answers when it is let to, with how often it has been asked before.
struct Desk {
    asked: AtomicUsize,
    open: Semaphore,
    fresh_for: Duration,
    is_whole: bool,
}

impl Desk {
    fn new(fresh_for: Duration, is_whole: bool) -> Arc<Self> {
        Arc::new(Self {
            asked: AtomicUsize::new(0),
            open: Semaphore::new(0),
            fresh_for,
            is_whole,
        })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn handle(State(desk): State<Arc<Desk>>) -> Response {
    let asked = desk.asked.fetch_add(1, Ordering::SeqCst);
    desk.open.acquire().await.unwrap().forget();
    let response = asked.to_string().into_response();
    let mut response = if desk.is_whole {
        whole(response)
    } else {
        response
    };
    if !desk.fresh_for.is_zero() {
        let until = Instant::now() + desk.fresh_for;
        response.extensions_mut().insert(Fresh {
            until,
            is_overtaken: Arc::default(),
        });
    }
    response
}

fn shared(desk: &Arc<Desk>) -> Shared {
    Shared::new(
        Router::new().fallback(handle).with_state(desk.clone()),
        Traffic::default(),
    )
}

fn asking(key: &str) -> Request {
    let request = Request::get("/list?limit=1").header("authorization", key);
    request.body(Body::empty()).unwrap()
}

/// Asks, and goes on until nothing more happens by itself.
async fn ask(shared: &Shared, request: Request) -> BoxedAnswer {
    let mut answer = shared.answer(request);
    settle(&mut answer).await;
    answer
}

async fn settle(answer: &mut BoxedAnswer) {
    for _ in 0..8 {
        assert!(answer.as_mut().now_or_never().is_none(), "answered already");
        tokio::task::yield_now().await;
    }
}

async fn text(answer: BoxedAnswer) -> String {
    let body = answer.await.unwrap().into_body();
    String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn who_asks_meanwhile_shares_the_next_answer() {
    let desk = Desk::new(Duration::ZERO, true);
    let shared = shared(&desk);
    let first = ask(&shared, asking("a")).await;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(ask(&shared, asking("a")).await);
    }
    assert_eq!(desk.asked(), 1, "those behind wait for their turn");
    desk.open.add_permits(2);
    assert_eq!(text(first).await, "0");
    // The answer they share was begun after they had asked.
    for answer in waiting {
        assert_eq!(text(answer).await, "1");
    }
    assert_eq!(desk.asked(), 2);
    assert!(shared.0.memory.rounds.asked().is_empty());
}

#[tokio::test]
async fn another_key_is_another_question() {
    let desk = Desk::new(Duration::from_secs(60), true);
    let shared = shared(&desk);
    let one = ask(&shared, asking("a")).await;
    let other = ask(&shared, asking("b")).await;
    assert_eq!(desk.asked(), 2);
    desk.open.add_permits(2);
    assert_eq!(text(one).await, "0");
    assert_eq!(text(other).await, "1");
    assert_eq!(text(shared.answer(asking("a"))).await, "0");
    assert_eq!(text(shared.answer(asking("b"))).await, "1");
}

#[tokio::test]
async fn who_goes_away_holds_up_nobody() {
    let desk = Desk::new(Duration::ZERO, true);
    let shared = shared(&desk);
    let running = ask(&shared, asking("a")).await;
    let next = ask(&shared, asking("a")).await;
    let follower = ask(&shared, asking("a")).await;
    // Whoever was to ask for both goes: the other asks for himself.
    drop(next);
    desk.open.add_permits(2);
    assert_eq!(text(follower).await, "1");
    drop(running);
    assert_eq!(text(shared.answer(asking("a"))).await, "2");
    assert!(shared.0.memory.rounds.asked().is_empty());
}

#[tokio::test]
async fn nobody_waits_long_for_his_turn() {
    let desk = Desk::new(Duration::ZERO, true);
    let shared = shared(&desk);
    let stuck = ask(&shared, asking("a")).await;
    let next = tokio::spawn(shared.answer(asking("a")));
    // It asks beside the one that is stuck.
    let asks = async {
        while desk.asked() < 2 {
            tokio::time::sleep(TURN_MAX / 10).await;
        }
    };
    timeout(TURN_MAX * 300, asks).await.unwrap();
    desk.open.add_permits(2);
    assert_eq!(text(stuck).await, "0");
    assert_eq!(next.await.unwrap().unwrap().status(), StatusCode::OK);
    assert!(shared.0.memory.rounds.asked().is_empty());
}

#[tokio::test]
async fn what_is_not_whole_is_answered_to_each() {
    let desk = Desk::new(Duration::ZERO, false);
    let shared = shared(&desk);
    let answers = [
        ask(&shared, asking("a")).await,
        ask(&shared, asking("a")).await,
        ask(&shared, asking("a")).await,
    ];
    desk.open.add_permits(3);
    let answers = futures_util::future::join_all(answers.map(text)).await;
    assert_eq!(desk.asked(), 3);
    assert_eq!(answers.len(), 3);
}

#[tokio::test]
async fn a_fresh_answer_is_given_again_under_another_id_until_it_is_old() {
    let desk = Desk::new(Duration::from_millis(50), true);
    let shared = shared(&desk);
    desk.open.add_permits(2);
    let with_id = |id: &str| {
        let mut request = asking("a");
        let id = HeaderValue::from_str(id).unwrap();
        request.headers_mut().insert(X_REQUEST_ID, id);
        request
    };
    assert_eq!(text(shared.answer(with_id("one"))).await, "0");
    let again = shared.answer(with_id("two")).await.unwrap();
    assert_eq!(again.headers()[X_REQUEST_ID], "two");
    assert_eq!(desk.asked(), 1);
    let deadline = Instant::now() + Duration::from_secs(30);
    while text(shared.answer(with_id("three"))).await == "0" {
        assert!(Instant::now() < deadline, "it was given for ever");
    }
    assert_eq!(desk.asked(), 2);
}
