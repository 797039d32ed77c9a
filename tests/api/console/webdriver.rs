//! A headless Chromium, where one and its driver are installed. Elsewhere tests that need it say so and pass.

use std::process::Stdio;
use std::time::{Duration, Instant};

use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use url::{ParseError, Url};

const BROWSERS: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];
const PATIENCE: Duration = Duration::from_secs(20);

/// A browser window. Drop it after [`Browser::close`], or the window stays until the driver ends.
pub struct Browser {
    pub page: Client,
    pub base: String,
    _driver: Child,
}

/// A request that only Chromium's driver knows.
#[derive(Debug)]
struct Own {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Own {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!(
            "session/{}/{}",
            session.unwrap_or_default(),
            self.path
        ))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}

fn program(names: &[&str]) -> Option<String> {
    let path = std::env::var_os("PATH")?;
    let mut found = std::env::split_paths(&path).flat_map(|folder| {
        let files = names.iter().map(move |name| folder.join(name));
        files.filter(|file| file.is_file())
    });
    found.next().map(|file| file.to_string_lossy().into_owned())
}

impl Browser {
    /// Nothing where no browser is installed.
    pub async fn open(base: &str) -> Option<Self> {
        let (Some(driver), Some(browser)) = (program(&["chromedriver"]), program(&BROWSERS)) else {
            eprintln!("skipped: chromium and chromedriver are not installed");
            return None;
        };
        let mut driver = Command::new(driver)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("chromedriver");
        let mut lines = BufReader::new(driver.stdout.take().expect("its output")).lines();
        let port = loop {
            let line = lines.next_line().await.expect("a line").expect("a port");
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                break port.trim_end_matches('.').to_owned();
            }
        };
        // Nobody else reads what it says.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let capabilities = json!({
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"binary": browser, "args": [
                "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--mute-audio",
                "--autoplay-policy=no-user-gesture-required", "--window-size=1280,860", "--hide-scrollbars",
                "--force-prefers-reduced-motion", "--disable-background-networking", "--no-first-run"
            ]}
        });
        let Value::Object(capabilities) = capabilities else {
            unreachable!("an object")
        };
        let page = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect("a browser");
        Some(Self {
            page,
            base: base.to_owned(),
            _driver: driver,
        })
    }

    pub async fn close(self) {
        self.page.clone().close().await.expect("the window closes");
    }

    pub async fn go(&self, path: &str) {
        let url = format!("{}{path}", self.base);
        self.page.goto(&url).await.expect("a page");
    }

    /// Signs in by the form, as a person does.
    pub async fn sign_in(&self, key: &str) {
        self.go("/console").await;
        self.type_into("input[name=key]", key).await;
        self.click("form button.main").await;
        self.until("document.querySelector('nav[aria-label=Console]') !== null")
            .await;
    }

    pub async fn click(&self, css: &str) {
        let found = self.page.find(Locator::Css(css)).await;
        let element = found.unwrap_or_else(|error| panic!("{css}: {error}"));
        element
            .click()
            .await
            .unwrap_or_else(|error| panic!("{css}: {error}"));
    }

    pub async fn type_into(&self, css: &str, text: &str) {
        let found = self.page.find(Locator::Css(css)).await;
        let element = found.unwrap_or_else(|error| panic!("{css}: {error}"));
        element.send_keys(text).await.expect("keys");
    }

    pub async fn text(&self, css: &str) -> String {
        let found = self.page.find(Locator::Css(css)).await;
        let element = found.unwrap_or_else(|error| panic!("{css}: {error}"));
        element.text().await.expect("a text")
    }

    /// The value of an expression in the page.
    pub async fn value(&self, expression: &str) -> Value {
        let script = format!("return ({expression});");
        let value = self.page.execute(&script, Vec::new()).await;
        value.unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    /// The value that an asynchronous script hands to `done`.
    pub async fn awaited(&self, script: &str) -> Value {
        let script = format!("const done = arguments[0]; {script}");
        let value = self.page.execute_async(&script, Vec::new()).await;
        value.unwrap_or_else(|error| panic!("{script:.200}: {error}"))
    }

    /// Waits for an expression to be true.
    pub async fn until(&self, expression: &str) {
        let started = Instant::now();
        // A page that is just being left has no answer.
        let script = format!("return ({expression});");
        loop {
            let value = self.page.execute(&script, Vec::new()).await;
            if matches!(value, Ok(Value::Bool(true))) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{expression}: {value:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Presses keys where the focus is.
    pub async fn press(&self, keys: &str) {
        let focused = self.page.active_element().await.expect("a focus");
        focused.send_keys(keys).await.expect("keys");
    }

    /// What the page complained of, violations of its policy included, since it was asked last.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.own("se/log", json!({"type": "browser"})).await;
        let entries = log.as_array().cloned().unwrap_or_default();
        let severe = entries.iter().filter(|entry| entry["level"] == "SEVERE");
        severe.map(|entry| entry["message"].to_string()).collect()
    }

    pub async fn dark(&self, is_dark: bool) {
        let value = if is_dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": value},
            {"name": "prefers-reduced-motion", "value": "reduce"}]);
        self.chromium(
            "Emulation.setEmulatedMedia",
            json!({ "features": features }),
        )
        .await;
    }

    pub async fn wide(&self, width: u32, height: u32) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.chromium("Emulation.setDeviceMetricsOverride", metrics)
            .await;
    }

    async fn chromium(&self, command: &str, parameters: Value) {
        let body = json!({"cmd": command, "params": parameters});
        self.own("goog/cdp/execute", body).await;
    }

    async fn own(&self, path: &'static str, body: Value) -> Value {
        self.page
            .issue_cmd(Own { path, body })
            .await
            .expect("an answer of the driver")
    }
}
