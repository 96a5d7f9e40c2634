//! A folder with a `fanfare.json`, and the program run in it.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::harness::{Answer, Connection, TempDir, binary, source_of};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Project {
    pub dir: TempDir,
    config: Value,
}

impl Project {
    /// With test guests or example modules; compiled components are shared with the other tests.
    pub fn with(modules: &[&str]) -> Project {
        let config = json!({
            "workers": 2,
            "stateDir": TempDir::STATE,
            "swap": { "watch": false },
            "http": { "listen": "127.0.0.1:0" },
            "admin": { "listen": "127.0.0.1:0" },
        });
        let project = Project { dir: TempDir::new(), config };
        project.dir.make_state_dir();
        fs::create_dir(project.dir.path().join("modules")).unwrap();
        for module in modules {
            let manifest: Value =
                serde_json::from_slice(&fs::read(source_of(module).join("module.json")).unwrap()).unwrap();
            let component = manifest["component"].as_str().unwrap();
            for file in ["module.json", component] {
                project.dir.write(&format!("modules/{module}/{file}"), fs::read(source_of(module).join(file)).unwrap());
            }
        }
        let asks = modules.contains(&"test-party");
        project.config(if asks {
            json!({ "modules": { "test-party": { "grants": { "reload": true } } } })
        } else {
            json!({})
        })
    }

    /// Sets keys of `fanfare.json`, each as a whole.
    pub fn config(mut self, keys: Value) -> Project {
        self.config.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        self.dir.write("fanfare.json", format!("{:#}", self.config));
        self
    }

    /// Without what other tests have compiled.
    pub fn own_state(self) -> Project {
        self.config(json!({ "stateDir": ".fanfare" }))
    }

    pub fn file(self, name: &str, text: impl AsRef<[u8]>) -> Project {
        self.dir.write(name, text);
        self
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }

    /// The program, here, with none of our own variables.
    pub fn command(&self, args: &[&str]) -> Command {
        self.prepared(Command::new(binary()), args)
    }

    /// The same started by a shell: `"$@"` of the script is the program with its arguments.
    pub fn shell(&self, script: &str, args: &[&str]) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh"]).arg(binary());
        self.prepared(shell, args)
    }

    /// With limits of open files, such as `-S -n 64`; the last one holds.
    pub fn command_with_files(&self, limits: &[&str], args: &[&str]) -> Command {
        let limits: String = limits.iter().map(|limit| format!("ulimit {limit} && ")).collect();
        self.shell(&format!("{limits}exec \"$@\""), args)
    }

    fn prepared(&self, mut command: Command, args: &[&str]) -> Command {
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("FANFARE_")) {
            command.env_remove(name);
        }
        command.args(args).current_dir(self.path()).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs it to its end.
    pub async fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args)).await
    }

    /// Starts `serve`, and waits until it says where.
    pub async fn serve(&self, args: &[&str]) -> Serving {
        let mut command = self.command(&["serve"]);
        command.args(args);
        self.start(command).await
    }

    pub async fn start(&self, command: Command) -> Serving {
        let log = File::create(self.path().join("log")).unwrap();
        self.start_with(command, log.into()).await
    }

    /// With a standard error of its own.
    pub async fn start_with(&self, mut command: Command, stderr: Stdio) -> Serving {
        let log = self.path().join("log");
        let mut child = command.stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut addresses = Vec::new();
        while addresses.len() < 2 {
            let line = timeout(PATIENCE, lines.next_line()).await.expect("it starts").unwrap();
            let line = line.unwrap_or_else(|| panic!("it ended: {}", fs::read_to_string(&log).unwrap_or_default()));
            let (_, address) = line.rsplit_once("http://").expect("an address");
            addresses.push(address.parse().unwrap());
        }
        Serving { http: addresses[0], admin: addresses[1], child, stdout: lines.into_inner(), log }
    }
}

/// How a run of the program ended.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub async fn of(mut command: Command) -> Ran {
        let output = timeout(PATIENCE, command.output()).await.expect("it ends").unwrap();
        let Output { status, stdout, stderr } = output;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: status.code().unwrap(), out: text(stdout), err: text(stderr) }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("no JSON: {} {}", self.out, self.err))
    }
}

/// A `fanfare serve`, ended with the test.
pub struct Serving {
    pub http: SocketAddr,
    pub admin: SocketAddr,
    child: Child,
    stdout: BufReader<ChildStdout>,
    log: std::path::PathBuf,
}

impl Serving {
    pub async fn get(&self, path: &str) -> Answer {
        Connection::open(self.http).await.send("GET", path, &[], "").await
    }

    pub async fn operator(&self, method: &str, path: &str) -> Answer {
        Connection::open(self.admin).await.send(method, path, &[], "").await
    }

    /// The address of the operator's listener, for `--admin`.
    pub fn admin(&self) -> String {
        self.admin.to_string()
    }

    pub async fn status(&self, module: &str) -> Value {
        let status = self.operator("GET", "/v1/status").await.json();
        let mut modules = status["modules"].as_array().unwrap().iter();
        modules.find(|listed| listed["name"] == module).unwrap_or_else(|| panic!("no {module}: {status}")).clone()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Sends our own child a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().expect("it runs").try_into().unwrap()).unwrap()
    }

    /// Lets it write files of at most this many bytes from now on, itself and its children.
    pub fn limit_file_size(&self, most: Option<u64>) {
        let limit = Rlimit { current: most, maximum: None };
        prlimit(Some(self.pid()), Resource::Fsize, limit).unwrap();
    }

    /// The most bytes of memory that it had at once so far.
    pub fn peak_memory(&self) -> u64 {
        memory_of(self.pid(), "VmHWM").expect("it runs")
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        timeout(PATIENCE, self.child.wait()).await.expect("it ends").unwrap()
    }

    /// Ends it in the gentle way: its exit code and what else it printed.
    pub async fn stop(mut self) -> (Option<i32>, String) {
        self.signal(Signal::TERM);
        let code = self.ended().await.code();
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).await.unwrap();
        (code, rest)
    }
}

/// A figure in bytes of `/proc/<pid>/status`; `None` when the process has ended.
pub fn memory_of(process: Pid, figure: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(figure)?.strip_prefix(':'))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? << 10)
}
