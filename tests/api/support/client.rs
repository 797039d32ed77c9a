//! A client whose answers are asserted on in a line, and every one checked against the contract.

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use super::contract;

#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    headers: HeaderMap,
}

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Client {
    pub fn new(base: &str) -> Self {
        // Fails if another test was first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build();
        Self {
            http: http.expect("a client"),
            base: base.to_owned(),
            headers: HeaderMap::new(),
        }
    }

    pub fn header(&self, name: &str, value: &str) -> Self {
        let mut client = self.clone();
        client.headers.append(
            reqwest::header::HeaderName::from_bytes(name.as_bytes()).expect("a header's name"),
            value.parse().expect("a header's value"),
        );
        client
    }

    pub fn bearer(&self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, |request| request).await
    }

    pub async fn head(&self, path: &str) -> Answer {
        self.send(Method::HEAD, path, |request| request).await
    }

    pub async fn post(&self, path: &str, json: &Value) -> Answer {
        self.send(Method::POST, path, |request| request.json(json))
            .await
    }

    pub async fn patch(&self, path: &str, json: &Value) -> Answer {
        self.send(Method::PATCH, path, |request| request.json(json))
            .await
    }

    pub async fn put(&self, path: &str, json: &Value) -> Answer {
        self.send(Method::PUT, path, |request| request.json(json))
            .await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, |request| request).await
    }

    /// The body as it comes, for those who do not want the whole of it.
    pub async fn streamed(&self, path: &str) -> reqwest::Response {
        let request = self.http.get(format!("{}{path}", self.base));
        let request = request.headers(self.headers.clone());
        request.send().await.expect("an answer")
    }

    /// Bytes as they are; the content type is up to the headers.
    pub async fn post_bytes(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        let body = body.into();
        self.send(Method::POST, path, |request| request.body(body))
            .await
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        with: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Answer {
        let request = self
            .http
            .request(method.clone(), format!("{}{path}", self.base))
            .headers(self.headers.clone());
        let response = with(request).send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.expect("a whole body").to_vec();
        // The probe's routes are the tests' own.
        if !path.starts_with("/probe") {
            contract::check(method.as_str(), path, status, &headers, &body);
        }
        Answer {
            status,
            headers,
            body,
        }
    }
}

impl Answer {
    #[track_caller]
    pub fn status(self, expected: u16) -> Self {
        assert_eq!(self.status, expected, "{}", self.text());
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// All values of a header, joined; empty if there is none.
    pub fn header(&self, name: &str) -> String {
        let values: Vec<_> = self
            .headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        values.join(", ")
    }

    /// A well-formed problem with this status and code.
    #[track_caller]
    pub fn problem(self, status: u16, code: &str) -> Self {
        let answer = self.status(status);
        let json = answer.json();
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(json["type"], format!("urn:voxray:problem:{code}"));
        assert_eq!(json["status"], status);
        assert_eq!(json["requestId"], answer.header("x-request-id"));
        assert!(
            json["title"].is_string() && json["detail"].is_string(),
            "{json}"
        );
        answer
    }

    /// The names of what a problem finds fault with.
    #[track_caller]
    pub fn fault_names(&self) -> Vec<String> {
        let json = self.json();
        let faults = json["errors"].as_array().cloned().unwrap_or_default();
        let name = |fault: &Value| fault["name"].as_str().unwrap_or_default().to_owned();
        faults.iter().map(name).collect()
    }

    /// The faults of a problem as `name message`.
    #[track_caller]
    pub fn faults(&self) -> Vec<String> {
        let json = self.json();
        let faults = json["errors"].as_array().cloned().unwrap_or_default();
        let text =
            |fault: &Value, field: &str| fault[field].as_str().unwrap_or_default().to_owned();
        faults
            .iter()
            .map(|fault| format!("{} {}", text(fault, "name"), text(fault, "message")))
            .collect()
    }
}
