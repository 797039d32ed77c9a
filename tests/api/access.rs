//! Who may call what, for every route of the table.

use reqwest::Method;
use voxray::app::{Access, ROUTES, Route, Verb};
use voxray::domain::access::Right;

use super::support::TestServer;

#[tokio::test]
async fn every_route_asks_for_its_right_and_no_other() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    for route in ROUTES {
        let Some(right) = needed(route) else { continue };
        let method: Method = route.verb.as_str().parse().expect("a method");
        let path = concrete(route.path);

        let nobody = server
            .anonymous()
            .send(method.clone(), &path, |request| request)
            .await;
        nobody.problem(401, "unauthenticated");

        let others: Vec<_> = Right::ALL
            .into_iter()
            .filter(|other| *other != right)
            .map(Right::as_str)
            .collect();
        let wrong = acme
            .client(&others.join(","))
            .await
            .send(method, &path, |request| request)
            .await;
        let detail = wrong.problem(403, "missing-scope").json()["detail"].to_string();
        assert!(detail.contains(right.as_str()), "{path}: {detail}");
    }
}

#[tokio::test]
async fn every_path_refuses_other_methods_and_unknown_parameters() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let all = Right::ALL.map(Right::as_str).join(",");
    let client = acme.client(&all).await;
    for route in ROUTES {
        let path = concrete(route.path);
        let answer = client
            .send(Method::OPTIONS, &path, |request| request)
            .await
            .problem(405, "method-not-allowed");
        assert!(
            answer.header("allow").contains(route.verb.as_str()),
            "{path}"
        );

        if route.verb == Verb::Get {
            let answer = client
                .get(&format!("{path}?no-such=1"))
                .await
                .problem(400, "invalid-request");
            assert!(
                answer
                    .faults()
                    .iter()
                    .any(|fault| fault.starts_with("no-such ")),
                "{path}"
            );
        }
    }
}

fn needed(route: &Route) -> Option<Right> {
    match route.access {
        Access::Public => None,
        Access::Reader => Some(Right::SessionsRead),
        Access::Transcripts => Some(Right::TranscriptsRead),
        Access::Ingestor => Some(Right::IngestWrite),
        Access::Reviewer => Some(Right::ReviewsWrite),
        Access::Admin => Some(Right::Admin),
    }
}

/// The path with something in the place of its parameters.
fn concrete(template: &str) -> String {
    let fill = |part: &str| {
        if part.starts_with('{') {
            "anything".to_owned()
        } else {
            part.to_owned()
        }
    };
    template.split('/').map(fill).collect::<Vec<_>>().join("/")
}
