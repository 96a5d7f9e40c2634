//! Headless Chromium, driven over WebDriver:
//!
//! ```ignore
//! let Some(browser) = Browser::start().await else { return };
//! browser.open(&host.url("/api/ticker/")).await;
//! browser.click("#cut").await;
//! assert_eq!(browser.text("#state").await, "cut");
//! ```

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::LazyLock;
use std::time::Duration;

use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::{Connection, TempDir, not_run, program, root};

/// One browser at a time, because a browser starts more processes than a small machine has cores.
static TURN: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(1));

/// Longer than any command of WebDriver takes.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A browser with one window, which may have tabs, and a profile of its own. Dropping it kills its
/// processes.
pub struct Browser {
    address: SocketAddr,
    session: String,
    chromium: Option<Pid>,
    driver: Child,
    _profile: TempDir,
    _turn: SemaphorePermit<'static>,
}

impl Browser {
    /// Returns `None` if the browser or its driver is not installed.
    pub async fn start() -> Option<Browser> {
        let chromium = program(&["chromium", "chromium-browser", "google-chrome"]);
        let (Some(chromium), Some(chromedriver)) = (chromium, program(&["chromedriver"])) else {
            not_run("chromium, chromedriver: install them with apt-get install chromium chromium-driver");
            return None;
        };
        let turn = TURN.acquire().await.unwrap();
        let mut driver = Command::new(chromedriver);
        driver.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut driver = driver.spawn().unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = loop {
            let line = timeout(TIMEOUT, lines.next_line()).await.expect("chromedriver starts").unwrap();
            let line = line.expect("chromedriver prints its port");
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                break port.trim_end_matches('.').parse::<u16>().unwrap();
            }
        };
        let profile = TempDir::new();
        let mut browser = Browser {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            session: String::new(),
            chromium: None,
            driver,
            _profile: profile,
            _turn: turn,
        };
        let profile = format!("--user-data-dir={}", browser._profile.path().display());
        let mut args = vec![
            "--headless=new",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            // A name that an attacker maps to an address of this machine.
            "--host-resolver-rules=MAP rebound.test 127.0.0.1",
            &profile,
        ];
        if geteuid().is_root() {
            args.push("--no-sandbox");
        }
        let options = json!({ "binary": chromium, "args": args });
        let wanted = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": options } } });
        let session = browser.send("POST", "/session", wanted).await;
        browser.session = session["sessionId"].as_str().unwrap().to_owned();
        let process = session["capabilities"]["goog:processID"].as_i64().and_then(|id| i32::try_from(id).ok());
        browser.chromium = process.and_then(Pid::from_raw);
        Some(browser)
    }

    /// Loads a page, and waits for its `load` event.
    pub async fn open(&self, url: &str) {
        self.command("url", json!({ "url": url })).await;
    }

    /// Opens an empty tab, in which the next commands run.
    pub async fn new_tab(&self) {
        let tab = self.command("window/new", json!({ "type": "tab" })).await;
        self.command("window", json!({ "handle": tab["handle"] })).await;
    }

    /// Opens an empty window, in which the next commands run. It counts as a tab.
    pub async fn new_window(&self) {
        let window = self.command("window/new", json!({ "type": "window" })).await;
        self.command("window", json!({ "handle": window["handle"] })).await;
    }

    /// Changes to a tab, in which the next commands run. 0 is the first one.
    pub async fn tab(&self, index: usize) {
        let tabs = self.send("GET", &self.path("window/handles"), Value::Null).await;
        self.command("window", json!({ "handle": tabs[index] })).await;
    }

    /// Runs the body of a function in the page, with these arguments, and returns its result.
    pub async fn run(&self, body: &str, args: Value) -> Value {
        self.command("execute/sync", json!({ "script": body, "args": args })).await
    }

    /// Clicks an element as a user does: the element must be visible.
    pub async fn click(&self, selector: &str) {
        let id = self.find(selector).await;
        self.command(&format!("element/{id}/click"), json!({})).await;
    }

    /// Returns the id that the driver has given to an element.
    async fn find(&self, selector: &str) -> String {
        let found = self.command("element", json!({ "using": "css selector", "value": selector })).await;
        found.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned()
    }

    /// Types into an element as a user does, after what it contains. `\u{e007}` is the Enter key.
    pub async fn type_into(&self, selector: &str, text: &str) {
        let id = self.find(selector).await;
        self.command(&format!("element/{id}/value"), json!({ "text": text })).await;
    }

    /// Presses and releases a key, wherever the focus is. `\u{e004}` is the Tab key.
    pub async fn press(&self, key: &str) {
        let actions = json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.command("actions", json!({ "actions": [keyboard] })).await;
    }

    /// The text of an element that the page shows, or `""` if there is no such element.
    pub async fn text(&self, selector: &str) -> String {
        let body = "return document.querySelector(arguments[0])?.innerText ?? ''";
        self.run(body, json!([selector])).await.as_str().unwrap().to_owned()
    }

    /// Emulates a screen of this width and height, as on a phone if `mobile` is set.
    pub async fn screen(&self, width: u32, height: u32, mobile: bool) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// Emulates a preference for the color scheme `light` or `dark`.
    pub async fn color_scheme(&self, scheme: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": [feature] })).await;
    }

    /// Writes a picture of the window to `target/screenshots`.
    pub async fn screenshot(&self, name: &str) -> PathBuf {
        let picture = self.send("GET", &self.path("screenshot"), Value::Null).await;
        let folder = root().join("target/screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{name}.png"));
        std::fs::write(&file, from_base64(picture.as_str().unwrap())).unwrap();
        file
    }

    async fn devtools(&self, command: &str, params: Value) {
        self.command("goog/cdp/execute", json!({ "cmd": command, "params": params })).await;
    }

    async fn command(&self, path: &str, body: Value) -> Value {
        self.send("POST", &self.path(path), body).await
    }

    fn path(&self, command: &str) -> String {
        format!("/session/{}/{command}", self.session)
    }

    async fn send(&self, method: &str, path: &str, body: Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = async {
            let mut connection = Connection::open(self.address).await;
            connection.send(method, path, &[("content-type", "application/json")], body).await
        };
        let answer = timeout(TIMEOUT, request).await.unwrap_or_else(|_| panic!("{method} {path} does not end"));
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
        answer.json()["value"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its other processes end with it.
        if let Some(chromium) = self.chromium {
            let _ = kill_process(chromium, Signal::KILL);
        }
        let _ = self.driver.start_kill();
    }
}

fn from_base64(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for value in text.bytes().filter_map(value) {
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    bytes
}
