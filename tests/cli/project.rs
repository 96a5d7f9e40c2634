//! Runs the executable in a temporary folder with a `fanfare.json`.

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

use crate::harness::{Answer, Connection, TempDir, binary, eventually, metric_of, source_of};

/// How long a command may take before it counts as hanging. A compiler of C takes half a minute on
/// a busy machine.
const TIMEOUT: Duration = Duration::from_secs(120);

pub struct Project {
    pub dir: TempDir,
    config: Value,
}

impl Project {
    /// A project with test guests or example modules. It shares the compiled components of all
    /// tests.
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
        let asks_for_reload = modules.contains(&"test-party");
        project.config(if asks_for_reload {
            json!({ "modules": { "test-party": { "grants": { "reload": true } } } })
        } else {
            json!({})
        })
    }

    /// A folder that is in no project.
    pub fn none() -> Project {
        Project { dir: TempDir::outside(), config: json!({}) }
    }

    /// Replaces keys at the top level of `fanfare.json`.
    pub fn config(mut self, keys: Value) -> Project {
        self.config.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        self.dir.write("fanfare.json", format!("{:#}", self.config));
        self
    }

    /// Uses a separate state folder, without compiled components of other tests.
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

    /// The executable in this folder, without `FANFARE_` variables.
    pub fn command(&self, args: &[&str]) -> Command {
        self.prepared(Command::new(binary()), args)
    }

    /// A shell script in which `"$@"` is the executable with its arguments.
    pub fn shell(&self, script: &str, args: &[&str]) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh"]).arg(binary());
        self.prepared(shell, args)
    }

    /// The executable with limits of open files, such as `-S -n 64`. The last limit applies.
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

    /// Runs a command to its end.
    pub async fn run(&self, args: &[&str]) -> CommandOutput {
        CommandOutput::of(self.command(args)).await
    }

    /// Runs a command in a folder of the project.
    pub async fn run_in(&self, folder: &str, args: &[&str]) -> CommandOutput {
        let mut command = self.command(args);
        command.current_dir(self.path().join(folder));
        CommandOutput::of(command).await
    }

    /// Names the host in `admin.listen`, so that commands find it.
    pub fn found(self, serving: &Serving) -> Project {
        self.config(json!({ "admin": { "listen": serving.admin() } }))
    }

    /// Starts `serve`, and waits until it prints its addresses.
    pub async fn serve(&self, args: &[&str]) -> Serving {
        let mut command = self.command(&["serve"]);
        command.args(args);
        self.start(command).await
    }

    pub async fn start(&self, command: Command) -> Serving {
        let log = File::create(self.path().join("log")).unwrap();
        self.start_with(command, log.into()).await
    }

    /// Starts a host whose standard error goes to `stderr`.
    pub async fn start_with(&self, mut command: Command, stderr: Stdio) -> Serving {
        let log = self.path().join("log");
        let mut child = command.stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut addresses = Vec::new();
        while addresses.len() < 2 {
            let line = timeout(TIMEOUT, lines.next_line()).await.expect("it starts").unwrap();
            let line = line.unwrap_or_else(|| panic!("it ended: {}", fs::read_to_string(&log).unwrap_or_default()));
            let (_, address) = line.rsplit_once("http://").expect("an address");
            addresses.push(address.parse().unwrap());
        }
        Serving { http: addresses[0], admin: addresses[1], child, stdout: lines.into_inner(), log }
    }
}

/// The result of a command.
pub struct CommandOutput {
    pub code: i32,
    pub out: String,
    /// Standard error, without `host`.
    pub err: String,
    /// The line that says which host answers, or a warning about it.
    pub host: String,
}

impl CommandOutput {
    pub async fn of(mut command: Command) -> CommandOutput {
        let output = timeout(TIMEOUT, command.output()).await.expect("it ends").unwrap();
        let Output { status, stdout, stderr } = output;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let lines = text(stderr);
        let is_host = |line: &&str| line.starts_with("host ") || line.starts_with("warning: the host at ");
        let host = lines.split_inclusive('\n').next().filter(is_host).unwrap_or_default();
        let err = lines.strip_prefix(host).unwrap_or_default().to_owned();
        CommandOutput { code: status.code().unwrap(), out: text(stdout), err, host: host.to_owned() }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("no JSON: {} {}", self.out, self.err))
    }
}

/// A running host. Dropping it kills the process.
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

    /// The sum of all samples of a metric whose labels contain all of `labels`.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        metric_of(self.operator("GET", "/metrics").await.text(), name, labels)
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

    /// The next line of standard output, which waits until the host has printed it.
    pub async fn line(&mut self) -> String {
        let mut line = String::new();
        timeout(TIMEOUT, self.stdout.read_line(&mut line)).await.expect("a line in time").unwrap();
        line.trim().to_owned()
    }

    /// The log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Sends a signal to the host.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Stops all threads of the host until it receives `SIGCONT`.
    pub async fn freeze(&self) {
        freeze(self.pid()).await;
    }

    pub fn pid(&self) -> Pid {
        pid_of(&self.child)
    }

    /// Limits the size of files that the host and its children write from now on.
    pub fn limit_file_size(&self, most: Option<u64>) {
        let limit = Rlimit { current: most, maximum: None };
        prlimit(Some(self.pid()), Resource::Fsize, limit).unwrap();
    }

    /// The peak memory so far, in bytes.
    pub fn peak_memory(&self) -> u64 {
        memory_of(self.pid(), "VmHWM").expect("it runs")
    }

    /// Waits until the host has exited.
    pub async fn ended(&mut self) -> ExitStatus {
        timeout(TIMEOUT, self.child.wait()).await.expect("it ends").unwrap()
    }

    /// Stops the host with SIGTERM. Returns the exit code and the rest of standard output.
    pub async fn stop(mut self) -> (Option<i32>, String) {
        self.signal(Signal::TERM);
        let code = self.ended().await.code();
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).await.unwrap();
        (code, rest)
    }
}

/// The process of a child that runs.
pub fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().expect("it runs").try_into().unwrap()).unwrap()
}

/// Stops all threads of a process until it receives `SIGCONT`.
pub async fn freeze(process: Pid) {
    kill_process(process, Signal::STOP).unwrap();
    let tasks = format!("/proc/{}/task", process.as_raw_nonzero());
    let is_stopped = |task: fs::DirEntry| {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        // The state follows the name, which is in parentheses.
        stat.rsplit_once(')').is_none_or(|(_, fields)| fields.starts_with(" T"))
    };
    eventually("all threads are stopped", || async { fs::read_dir(&tasks).unwrap().flatten().all(is_stopped) }).await;
}

/// A figure of `/proc/<pid>/status` in bytes. `None` if the process has ended.
pub fn memory_of(process: Pid, figure: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(figure)?.strip_prefix(':'))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? << 10)
}
